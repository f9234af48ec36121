// Builds the page's elements. Text is always text: nothing that comes from outside is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("p.small", {onclick: f, title: "x"}, "text", child)`. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(tag(name)), name, attributes, children);
}

/** The same for SVG. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag(name)), name, attributes, children);
}

const tag = (name) => name.split(".")[0];

function fill(element, name, attributes, children) {
  const classes = name.split(".").slice(1);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value" && "value" in element) element.value = value;
    else if (key === "checked") element.checked = true;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Replaces what is in an element. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const ICONS = {
  overview: "M4 7h5v4H4zM15 4h5v4h-5zM15 16h5v4h-5zM9 9h3v-3h3M12 9v9h3",
  live: "M3 12h4l3-7 4 14 3-7h4",
  fates: "M12 4a8 8 0 1 1-7 4M5 4v4h4M12 8v5l3 2",
  flows: "M5 5v5a4 4 0 0 0 4 4h6a4 4 0 0 1 4 4v1M19 5v3M16 8h6M3 5h4",
  data: "M4 19h16M6 15l4-5 4 3 5-7",
  letters: "M3 6h18v13H3zM3 7l9 7 9-7",
  deliveries: "M3 5l18 7-18 7 3-7zM6 12h8",
  start: "M6 20V4l11 5-11 5",
  interfaces: "M8 3v5M16 3v5M6 8h12v4a6 6 0 0 1-12 0zM12 18v3",
  topics: "M5 4v14a2 2 0 0 0 2 2h3M5 10h5M14 8h6v4h-6zM14 18h6v4h-6z",
  broker: "M4 5h16v6H4zM4 13h16v6H4zM8 8h.01M8 16h.01",
  system: "M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM12 3v3M12 18v3M3 12h3M18 12h3M5.600 5.600l2.100 2.100M16.300 16.300l2.100 2.100M18.400 5.600l-2.100 2.100M7.700 16.300l-2.100 2.100",
  menu: "M4 7h16M4 12h16M4 17h16",
  plus: "M12 5v14M5 12h14",
  pause: "M9 5v14M15 5v14",
  play: "M7 5l12 7-12 7z",
  check: "M5 12l5 5 9-11",
};

export function icon(name) {
  return s("svg.icon", { viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: ICONS[name] || "" }));
}

export function button(text, onclick, kind = "", more = {}) {
  return h(`button.button${kind && "." + kind.split(" ").join(".")}`, { type: "button", onclick, ...more }, text);
}

export function chip(kind, text, title) {
  return h(`span.chip${kind && "." + kind}`, { title }, text);
}

/** A label with its field; the field gets its id. */
let fields = 0;
export function field(label, input, help) {
  input.id = input.id || `field-${++fields}`;
  const parts = [h("label", { for: input.id }, label), input];
  if (help) {
    parts.push(h("span.help", { id: `${input.id}-help` }, help));
    input.setAttribute("aria-describedby", `${input.id}-help`);
  }
  return h("div.field", {}, parts);
}

export function select(options, value, attributes = {}) {
  return h("select", attributes, options.map(([key, text]) => {
    const option = h("option", { value: key }, text);
    option.selected = key === value;
    return option;
  }));
}

/** A table whose rows become cards on a narrow screen. Columns: `[heading, row => content, class]`. */
export function table(columns, rows, caption, mark) {
  const head = columns.map(([name, , kind]) => h(`th${kind ? "." + kind : ""}`, { scope: "col" }, name || h("span.hidden", {}, "Actions")));
  const line = (row) => h(`tr${mark && mark(row) ? ".marked" : ""}`, {}, columns.map(([name, content, kind], index) => {
    const label = index > 0 && name ? name : undefined;
    return h(`td${kind ? "." + kind : ""}`, { "data-label": label }, h("div.cell", {}, content(row)));
  }));
  return h("div.table", {}, h("table.folds", {}, h("caption.hidden", {}, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows.map(line))));
}

export function empty(what, text, ...more) {
  return h("div.card.empty", {}, icon(what), h("p", {}, text), more);
}

/** An error as a note that says what to do. */
export function problem(error) {
  return h("div.note.bad", { role: "alert" }, error.message || String(error));
}

export function toast(text, kind = "") {
  let place = document.querySelector(".toasts");
  if (!place) document.body.append(place = h("div.toasts", { role: "status", "aria-live": "polite" }));
  const one = h(`div.toast${kind && "." + kind}`, {}, text);
  place.append(one);
  setTimeout(() => one.remove(), kind === "bad" ? 9000 : 4500);
}

/** Does something and tells how it went; the button waits meanwhile. */
export async function attempt(element, work, done) {
  if (element) element.disabled = true;
  try {
    const answer = await work();
    if (done) toast(typeof done === "function" ? done(answer) : done);
    return answer;
  } catch (error) {
    toast(error.message, "bad");
    return undefined;
  } finally {
    if (element) element.disabled = false;
  }
}

/** A dialog with what `make(close)` builds. Answers what `close` was called with. */
export function dialog(title, make) {
  return new Promise((resolve) => {
    const box = h("dialog", { "aria-label": title });
    const close = (answer) => { box.close(); box.remove(); resolve(answer); };
    box.append(h("div.stack", {}, h("h2", {}, title), make(close)));
    box.addEventListener("cancel", () => { box.remove(); resolve(undefined); });
    document.body.append(box);
    box.showModal();
  });
}

export function confirm(title, text, action) {
  return dialog(title, (close) => [
    h("p", {}, text),
    h("div.row.end", {}, button("Cancel", () => close(false)), button(action, () => close(true), "danger")),
  ]);
}

// Numbers and times as the browser's owner writes them.
const plain = new Intl.NumberFormat(undefined, { maximumFractionDigits: 3 });
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

export const number = (value) => plain.format(value);
export const compact = (value) => (Math.abs(value) < 10000 ? plain.format(value) : short.format(value));
export const rate = (value) => (value >= 10 ? short.format(Math.round(value)) : plain.format(Math.round(value * 10) / 10));
export const time = (at) => clock.format(new Date(at));

export function when(at) {
  if (!at) return h("span.muted", {}, "never");
  return h("time", { datetime: at, title: moment.format(new Date(at)) }, ago(at));
}

export const date = (at) => moment.format(new Date(at));

export function ago(at) {
  const seconds = (new Date(at) - Date.now()) / 1000;
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit);
  }
  return relative.format(Math.trunc(seconds), "second");
}

export function bytes(count) {
  let index = 0;
  const units = ["B", "KiB", "MiB", "GiB"];
  while (count >= 1024 && index < units.length - 1) { count /= 1024; index++; }
  return `${plain.format(Math.round(count * 10) / 10)} ${units[index]}`;
}

/** JSON with its structure, other text as it is. */
export function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

/** Lines of sixteen bytes with what of them is readable. */
export function hexdump(hex) {
  const lines = [];
  for (let at = 0; at < hex.length; at += 32) {
    const pairs = hex.slice(at, at + 32).match(/../g) || [];
    const readable = pairs.map((pair) => {
      const code = parseInt(pair, 16);
      return code >= 32 && code < 127 ? String.fromCharCode(code) : ".";
    });
    lines.push(`${(at / 2).toString(16).padStart(6, "0")}  ${pairs.join(" ").padEnd(47)}  ${readable.join("")}`);
  }
  return lines.join("\n");
}

export function spark(values) {
  if (values.length < 2) return null;
  const low = Math.min(...values), high = Math.max(...values), span = high - low || 1;
  const points = values.map((value, index) => `${(index / (values.length - 1)) * 100},${22 - ((value - low) / span) * 20}`);
  return s("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" }, s("polyline.spark", { points: points.join(" ") }));
}
