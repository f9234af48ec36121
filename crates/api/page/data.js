// What a flow stored: a curve and a table of windows that the gateway made.

import { h, put, select, field, button, table, empty, problem, when, date, number, compact } from "./dom.js";
import { get, segment } from "./api.js";
import { link, note } from "./main.js";
import { chart } from "./chart.js";

const RANGES = [["10m", "10 minutes", 600], ["1h", "1 hour", 3600], ["6h", "6 hours", 21600], ["24h", "24 hours", 86400], ["7d", "7 days", 604800], ["30d", "30 days", 2592000], ["1y", "1 year", 31536000]];

export async function view(frame) {
  const { flows } = await get("flows");
  const stores = flows.filter((flow) => flow.action === "STORE_DB" || JSON.stringify(flow.options || "").includes("STORE_DB"));
  if (!stores.length) { put(frame.body, empty("data", "No flow stores anything yet.", h("a.button.main", { href: link("start") }, "First steps"))); return undefined; }
  let [code, attribute] = frame.rest, range = frame.query.get("range"), to = frame.query.get("to");
  const busiest = [...stores].sort((a, b) => b.last_msg_id - a.last_msg_id)[0].code;
  const flow = select(stores.map((one) => [one.code, one.code]), code || busiest);
  const name = select([], "");
  const picture = h("section.card.stack", { "aria-label": "Chart" }), values = h("section.card", { "aria-label": "Newest values" });
  const ranges = RANGES.map(([key, text]) => button(text, () => { range = key; to = null; draw(); }, "small"));
  put(frame.body, h("div.card.fields.tight", {}, field("Flow", flow), field("Attribute", name)), picture, values);

  async function choose() {
    try {
      const { attributes } = await get(`data/${segment(flow.value)}`);
      if (!attributes.length) { put(picture, empty("data", `${flow.value} has stored nothing among the newest rows. Does anything pass on its topic?`, h("a.button", { href: link("live", [], { flow: flow.value }) }, "Watch it"))); put(values); put(name); return; }
      put(name, attributes.map((one) => h("option", { value: one.name }, one.name)));
      const first = attributes.find((one) => !Number.isNaN(Number(one.value))) || attributes[0];
      name.value = attributes.some((one) => one.name === attribute) ? attribute : first.name;
      put(values, h("h2", {}, "Newest values"), table([
        ["Attribute", (one) => h("strong", {}, one.name)], ["Value", (one) => h("code.wrap", {}, one.value.slice(0, 200))], ["Came in", (one) => when(one.at)],
        ["", (one) => button("Show", () => { attribute = name.value = one.name; draw(); }, "small", { "aria-label": `Show ${one.name}` }), "actions"],
      ], attributes, "Newest value of each attribute"));
      range = range || await fitting();
      await draw();
    } catch (error) { put(picture, problem(error)); put(values); }
  }

  /** The shortest range that shows all of the last month. */
  async function fitting() {
    for (const days of [0.25, 30]) {
      const from = new Date(Date.now() - days * 86400000).toISOString();
      const { points, window } = await get(`data/${segment(flow.value)}/${segment(name.value)}`, { from, points: 500 });
      const age = points.length ? (Date.now() - new Date(points[0].at)) / 1000 - window : 0;
      // Values as old as all that was asked for: there may be older ones.
      if (points.length && (days === 30 || age < days * 86400 - 2 * window)) return RANGES.find(([, , seconds]) => seconds >= age)[0];
    }
    return "24h";
  }

  async function draw() {
    attribute = name.value;
    note("data", [flow.value, attribute], { range, to: to || "" });
    const [, , seconds] = RANGES.find(([key]) => key === range) || RANGES[3];
    const end = to ? new Date(to) : new Date(), begin = new Date(end - seconds * 1000);
    RANGES.forEach(([key], index) => ranges[index].setAttribute("aria-pressed", String(key === range)));
    const move = (steps) => { to = new Date(+end + steps * seconds * 1000); to = to >= new Date() ? null : to.toISOString(); draw(); };
    const bar = h("div.row", {}, h("div.row", { role: "group", "aria-label": "Range" }, ranges), h("span.grow"),
      button("◂ Earlier", () => move(-1), "small"), button("Later ▸", () => move(1), "small", { disabled: !to }));
    try {
      const series = await get(`data/${segment(flow.value)}/${segment(attribute)}`, { from: begin.toISOString(), to: end.toISOString(), points: 300 });
      const count = series.points.reduce((all, point) => all + point.count, 0);
      const numbers = series.points.filter((point) => point.mean !== null);
      put(picture, h("div.title", {}, h("h2", {}, attribute), h("span.small.muted", {}, `${compact(count)} values`)), bar,
        numbers.length ? chart(series, `${attribute} of ${flow.value}`, picture.clientWidth - 36) : h("p.muted", {}, count ? "These values are no numbers; see the table." : "Nothing was stored in this range."),
        series.points.length > 0 && h("details", {}, h("summary", {}, "The same as a table"), table([
          ["From", (point) => date(point.at)], ["Values", (point) => number(point.count), "number"], ["Least", (point) => shown(point.min), "number"],
          ["Mean", (point) => shown(point.mean), "number"], ["Greatest", (point) => shown(point.max), "number"], ["Last", (point) => h("code.wrap", {}, point.last.slice(0, 80))],
        ], [...series.points].reverse().slice(0, 100), `Windows of ${number(series.window)} seconds, the newest first`)));
    } catch (error) { put(picture, bar, problem(error)); }
  }

  flow.addEventListener("change", () => { attribute = undefined; choose(); });
  name.addEventListener("change", draw);
  await choose();
  const timer = setInterval(() => { if (!to && !document.hidden && range === "1h" && !picture.querySelector("details[open]")) draw(); }, 10000);
  return () => clearInterval(timer);
}

const shown = (value) => (value === null ? "" : number(value));
