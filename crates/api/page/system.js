// The gateway itself: what is configured and by whom, the log's level, who is logged in, all of it in one file for helpers.

import { h, put, chip, button, field, select, table, problem, attempt, toast, when, date } from "./dom.js";
import { ask, address, get, segment } from "./api.js";
import { link, note, theme } from "./main.js";

export async function view(frame) {
  if (frame.rest[0] === "api") return api(frame);
  put(frame.actions, h("a.button", { href: link("system", ["api"]) }, "API"), h("a.button", { href: address("support"), download: "hearthgate-support.json" }, "Support bundle"));
  const cards = h("div.cards", {}, look(), logCard(frame));
  put(frame.body, cards);
  if (frame.session.needs_token && frame.may("admin")) frame.body.append(await sessions());
  frame.body.append(await configuration(frame));
  return undefined;
}

function look() {
  const chosen = localStorage.getItem("theme") || "auto";
  const buttons = [["auto", "As the system"], ["light", "Light"], ["dark", "Dark"]].map(([key, text]) => button(text, () => {
    theme(key);
    buttons.forEach((one, index) => one.setAttribute("aria-pressed", String(["auto", "light", "dark"][index] === key)));
  }, "", { "aria-pressed": String(key === chosen) }));
  return h("section.card.stack", { "aria-label": "Appearance" }, h("h2", {}, "Appearance"), h("div.row", { role: "group", "aria-label": "Colours" }, buttons),
    h("p.small.muted", {}, "Kept in this browser. Numbers and times follow the browser's language."));
}

function logCard(frame) {
  const now = h("p", { role: "status" }), card = h("section.card.stack", { "aria-label": "Log" }, h("h2", {}, "Log"), now);
  const draw = (level) => put(now, "The level is ", h("code", {}, level.level), level.until ? [" until ", date(level.until), ", then again ", h("code", {}, level.configured)] : ", as configured", ".");
  get("log").then(draw).catch((error) => put(now, problem(error)));
  if (frame.may("operate")) {
    const level = select(["error", "warn", "info", "debug", "trace"].map((name) => [name, name]), "debug");
    const minutes = select([["5", "5 minutes"], ["15", "15 minutes"], ["60", "1 hour"], ["480", "8 hours"]], "15");
    const set = (wanted) => async (event) => {
      const done = await attempt(event.currentTarget, () => ask("PUT", "log", { body: wanted() }));
      if (done) { draw(done); toast("The log's level is set"); }
    };
    card.append(h("div.fields", {}, field("Level", level), field("For", minutes)), h("div.row", {}, button("Set", set(() => ({ level: level.value, minutes: Number(minutes.value) })), "main"),
      button("As configured", set(() => ({ level: "", minutes: 0 })))));
  }
  return card;
}

async function sessions() {
  const card = h("section.card", { "aria-label": "Logins" });
  const draw = async () => {
    const { sessions: all } = await get("sessions");
    put(card, h("h2", {}, "Logins"), all.length ? table([
      ["Since", (one) => [when(one.since), one.own && [" ", chip("tag", "this one")]]], ["Last used", (one) => when(one.used)], ["From", (one) => h("code", {}, one.address)], ["May", (one) => one.scope],
      ["", (one) => !one.own && button("End it", async (event) => { await attempt(event.currentTarget, () => ask("DELETE", `sessions/${segment(one.id)}`), "The login is ended"); draw(); }, "small danger", { "aria-label": `End the login from ${one.address}` }), "actions"],
    ], all, "Logins to this page") : h("p.muted", {}, "Nobody is logged in by a cookie."));
  };
  await draw();
  return card;
}

async function configuration(frame) {
  const card = h("section.card.stack", { "aria-label": "Configuration" }), rows = h("div");
  let state;
  try { state = await get("configuration"); } catch (error) { return put(card, problem(error)); }
  const find = h("input", { type: "search", placeholder: "mqtt", value: frame.query.get("find") || "", "aria-label": "Find settings" });
  const changed = h("input", { type: "checkbox", checked: frame.query.get("changed") !== "0" });
  const draw = () => {
    const text = find.value.toLowerCase();
    const shown = state.settings.filter((one) => (!changed.checked || one.changed || text) && (!text || one.key.toLowerCase().includes(text)));
    note("system", [], { find: find.value, changed: changed.checked ? "" : "0" });
    put(rows, shown.length ? table([
      ["Key", (one) => h(one.changed ? "strong" : "span", {}, h("code.wrap", {}, one.key)), "topic"],
      ["Value", (one) => (one.value === "***" ? chip("tag", "secret") : h("code.wrap", {}, JSON.stringify(one.value)))],
      ["From", (one) => [h("span.small.muted.wrap", {}, one.origin), one.locked && [" ", chip("tag", "locked", "The environment or a flag rules: changing the file changes nothing")]]],
    ], shown, "Settings in force") : h("p.muted", {}, text ? "No setting is like that." : "Nothing differs from what the program brings along."),
      changed.checked && !text && h("p.small.muted", {}, `${state.settings.length - shown.length} more are as the program brings them along; search finds them too.`));
  };
  find.addEventListener("input", draw);
  changed.addEventListener("change", draw);
  put(card, h("div.title", {}, h("h2", {}, "Configuration"), h("label.check.small", {}, changed, "Only what was changed"), h("div", {}, find)),
    h("p.small.muted", {}, state.file ? ["From ", h("code", {}, state.file), "; "] : "No configuration file; ", "relative paths begin at ", h("code", {}, state.base), ". Secrets are not shown."),
    state.warnings.length > 0 && h("div.note.wait", {}, h("ul", {}, state.warnings.map((warning) => h("li", {}, warning)))), rows);
  draw();
  return card;
}

/** The reference of the API, out of its own document. */
async function api(frame) {
  frame.title("API");
  put(frame.actions, h("a.button", { href: link("system") }, "System"), h("a.button", { href: address("openapi.json"), download: "openapi.json" }, "OpenAPI document"));
  const document = await get("openapi.json");
  const bySubject = new Map();
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const subject = operation.tags[0];
      if (!bySubject.has(subject)) bySubject.set(subject, []);
      bySubject.get(subject).push({ path, method: method.toUpperCase(), ...operation });
    }
  }
  put(frame.body, h("p.muted", {}, "Everything that this page shows and does. Send ", h("code", {}, "Authorization: Bearer TOKEN"), "; errors are problems after RFC 9457."),
    [...bySubject].map(([subject, operations]) => h("section.card", { "aria-label": subject }, h("h2", {}, subject), table([
      ["Operation", (one) => [h("strong", {}, one.method), " ", h("code.wrap", {}, one.path)]], ["What it does", (one) => one.summary],
      ["Parameters", (one) => one.parameters.filter((parameter) => parameter.in !== "path").map((parameter) => h("div.small", {}, h("code", {}, parameter.name), " ", parameter.description))],
      ["Needs", (one) => one["x-scope"]],
    ], operations, `Operations of ${subject}`))));
  return undefined;
}
