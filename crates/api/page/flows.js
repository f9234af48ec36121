// The flows: what each did, and a form that tells what a flow would make of a message before it is saved.

import { h, put, chip, button, field, select, table, empty, problem, confirm, dialog, attempt, toast, when, compact, pretty, icon } from "./dom.js";
import { ask, get, post, segment, stream } from "./api.js";
import { go, link } from "./main.js";

const ACTIONS = [["STORE_DB", "STORE_DB: rows in the database"], ["POST_ENDPOINT", "POST_ENDPOINT: call an endpoint"], ["PUBLISH", "PUBLISH: another topic"], ["LOG", "LOG: the gateway's log"]];
const PRESETS = [
  ["Numbers of a sensor", '{\n  "temperature": "float",\n  "humidity": "float"\n}'],
  ["One text", '{\n  "state": "str"\n}'],
  ["JSON Schema", '{\n  "type": "object",\n  "properties": {\n    "value": {"type": "number"}\n  },\n  "required": ["value"]\n}'],
];

export async function view(frame) {
  const [code] = frame.rest;
  if (code === "new") return form(frame, null);
  const { flows } = await get("flows");
  if (code !== undefined) {
    const found = flows.find((flow) => flow.code === code);
    if (!found) { put(frame.body, problem(new Error(`There is no flow ${code}; it may have been removed or renamed.`)), h("div", {}, h("a.button", { href: link("flows") }, "All flows"))); return undefined; }
    return form(frame, found);
  }
  return list(frame, flows);
}

function list(frame, first) {
  put(frame.actions, frame.may("operate") && button("Read again", (event) => attempt(event.target, () => post("flows/reload"), "The flows were read again")),
    frame.may("admin") && [h("a.button", { href: link("start") }, "From what passes"), h("a.button.main", { href: link("flows", ["new"]) }, icon("plus"), "New flow")]);
  const card = h("section.card", { "aria-label": "Flows" });
  const draw = (flows) => {
    if (!flows.length) { put(frame.body, empty("flows", "There is no flow yet. A flow takes messages of a topic, checks them and stores, posts or publishes them.", frame.may("admin") && h("div.row", {}, h("a.button.main", { href: link("start") }, "First steps"), h("a.button", { href: link("flows", ["new"]) }, "Write a flow")))); return; }
    put(card, table([
      ["Flow", (flow) => [h("a", { href: link("flows", [flow.code]) }, h("strong", {}, flow.code)), h("div.small.muted.wrap", {}, flow.description)]],
      ["Topic", (flow) => h("code.wrap", {}, flow.topic), "topic"],
      ["Action", (flow) => h("span.small", {}, flow.action), "short"],
      ["State", (flow) => flow.problem ? chip("bad", "can not run", flow.problem) : [flow.enabled ? chip("ok", "on") : chip("", "off"), flow.waits ? chip("wait", "waits", flow.waits) : null, flow.figures.silent ? chip("wait", `${compact(flow.figures.silent)} silent`, silentNames(flow)) : null]],
      ["Stored", (flow) => compact(flow.figures.stored), "number"],
      ["Delivered", (flow) => compact(flow.figures.delivered), "number"],
      ["Dead letters", (flow) => flow.figures.dead ? h("a", { href: link("letters", [], { flow: flow.code }) }, compact(flow.figures.dead)) : "0", "number"],
      ["Last message", (flow) => when(flow.figures.last_at), "short"],
      ["", (flow) => h("a.button.small", { href: link("live", [], { flow: flow.code }), "aria-label": `Watch ${flow.code}` }, "Watch"), "actions"],
    ], flows, "Flows with what they did since the gateway was started"));
    put(frame.body, card, h("p.small.muted", {}, "Stored and delivered count since the gateway was started."));
  };
  draw(first);
  const timer = setInterval(async () => {
    if (document.hidden || card.contains(document.activeElement)) return;
    try { draw((await get("flows")).flows); } catch { /* The next time tells. */ }
  }, 3000);
  return () => clearInterval(timer);
}

function form(frame, known) {
  const flow = known || { code: "", description: "", topic: frame.query.get("topic") || "", action: frame.query.get("action") || "STORE_DB", schema: null, enabled: true, endpoint_url: null, options: null };
  frame.title(known ? flow.code : "New flow");
  const is = { readonly: !frame.may("admin") };
  const input = (value, more = {}) => h("input", { value: value || "", spellcheck: "false", autocapitalize: "off", ...is, ...more });
  const fields = {
    code: input(flow.code, { required: true, maxlength: 100 }),
    description: input(flow.description, { spellcheck: "true", maxlength: 255 }),
    topic: input(flow.topic, { required: true, maxlength: 255 }),
    action: select(ACTIONS, flow.action),
    endpoint: input(flow.endpoint_url, { type: "text", inputmode: "url", maxlength: 500 }),
    schema: h("textarea", { rows: 9, spellcheck: "false", required: true, ...is, value: flow.schema === null ? guess(frame.query.get("payload")) : JSON.stringify(flow.schema, null, 2) }),
    options: h("textarea", { rows: 4, spellcheck: "false", ...is, value: flow.options ? JSON.stringify(flow.options, null, 2) : "" }),
    enabled: h("input", { type: "checkbox", checked: flow.enabled }),
  };
  const endpoint = field("Endpoint", fields.endpoint, "The URL that POST_ENDPOINT posts to.");
  const showEndpoint = () => { endpoint.hidden = fields.action.value !== "POST_ENDPOINT"; };
  fields.action.addEventListener("change", showEndpoint);
  showEndpoint();
  const presets = h("div.row", {}, h("span.small.muted", {}, "Begin with:"), PRESETS.map(([name, text]) => button(name, () => { fields.schema.value = text; }, "small")));
  const failed = h("div");

  const written = () => {
    const json = (element, what) => {
      if (!element.value.trim()) return null;
      try { return JSON.parse(element.value); } catch (error) {
        element.setAttribute("aria-invalid", "true");
        element.focus();
        throw new Error(`${what} is no JSON: ${error.message}`);
      }
    };
    for (const element of [fields.schema, fields.options]) element.removeAttribute("aria-invalid");
    const schema = json(fields.schema, "The schema"), options = json(fields.options, "What is in the options");
    if (schema === null) throw new Error("A flow needs a schema, such as {\"temperature\": \"float\"}.");
    return {
      code: fields.code.value.trim(), description: fields.description.value.trim(), topic: fields.topic.value.trim(), action: fields.action.value, schema, options,
      endpoint_url: fields.action.value === "POST_ENDPOINT" || fields.endpoint.value ? fields.endpoint.value.trim() : null, enabled: fields.enabled.checked,
    };
  };

  const save = async () => {
    put(failed);
    try {
      const wanted = written();
      if (known && !(await agree(known, wanted))) return;
      const saved = known ? await ask("PUT", `flows/${segment(known.code)}`, { body: wanted, version: known.version }) : await post("flows", wanted);
      toast(`${saved.code} is saved and in force`);
      if (known && saved.code === known.code) { known = saved; put(failed, h("div.note.ok", { role: "status" }, "Saved, and in force.")); } else go("flows", [saved.code]);
    } catch (error) { put(failed, problem(error)); }
  };
  const remove = async (event) => {
    if (!(await confirm(`Remove ${known.code}?`, "It takes no more messages. What it stored stays in the database; what waits for it becomes dead letters.", "Remove"))) return;
    if ((await attempt(event.target, async () => { await ask("DELETE", `flows/${segment(known.code)}`, { version: known.version }); return true; }, `${known.code} is removed`))) go("flows");
  };
  put(frame.actions, h("a.button", { href: link("flows") }, "All flows"), known && h("a.button", { href: link("data", [known.code]) }, "Data"),
    known && frame.may("admin") && button("Remove", remove, "danger"));

  put(frame.body, known?.problem && problem(new Error(known.problem)), known?.waits && h("div.note", { role: "status" }, `Its deliveries wait: ${known.waits}`), known && silentDevices(known), h("div.two", {},
    h("form.card.stack", { onsubmit: (event) => { event.preventDefault(); save(); }, "aria-label": "Flow" },
      h("div.fields", {}, field("Code", fields.code, "Names the flow; rows carry it."), field("Topic", fields.topic, "MQTT filter: + is one level, # the rest, {name} a level that is kept.")),
      field("Description", fields.description),
      h("div.fields", {}, field("Action", fields.action), endpoint),
      field("Payload schema", fields.schema, "Each field with its type: str, int, float, bool; or JSON Schema. What does not fit becomes a dead letter."), frame.may("admin") && presets,
      field("Options", fields.options, "JSON, may be empty: table, on_change, min_interval, templates, headers and more."),
      h("label.check", {}, fields.enabled, "Enabled"),
      failed, frame.may("admin") && h("div.row", {}, h("button.button.main", { type: "submit" }, known ? "Save changes" : "Save"))),
    tester(frame, fields, written)));
  return undefined;
}

const silentNames = (flow) => (flow.silence?.devices || []).slice(0, 10).map((device) => device.key.join(" ")).join(", ");

/** From whom nothing comes. */
function silentDevices(flow) {
  if (!flow.figures.silent || !flow.silence) return null;
  const left = flow.figures.silent - flow.silence.devices.length;
  return h("section.card.stack", { "aria-label": "Silent devices" }, h("h2", {}, "Silent"),
    h("p.small.muted", {}, `Nothing came for ${flow.silence.after} from these, the longest silence first.`),
    table([["Device", (device) => h("code.wrap", {}, device.key.join(" "))], ["Last heard", (device) => when(device.since)]], flow.silence.devices, "Silent devices with when they were heard last"),
    left > 0 && h("p.small.muted", {}, `and ${compact(left)} more.`));
}

/** What would change, before it does. */
function agree(known, wanted) {
  const text = (value) => (value === null || value === undefined || value === "" ? "(none)" : typeof value === "string" ? value : typeof value === "object" ? JSON.stringify(value, null, 2) : String(value));
  const names = { code: "Code", description: "Description", topic: "Topic", action: "Action", endpoint_url: "Endpoint", schema: "Payload schema", options: "Options", enabled: "Enabled" };
  const changed = Object.keys(names).filter((key) => text(known[key]) !== text(wanted[key]));
  if (!changed.length) { toast("Nothing is changed"); return Promise.resolve(false); }
  return dialog(`Change ${known.code}?`, (close) => [
    changed.map((key) => h("div.stack", {}, h("h3", {}, names[key]), h("div.diff", {},
      h("pre.old", { tabindex: "0", "aria-label": `${names[key]} before` }, text(known[key])), h("pre.new", { tabindex: "0", "aria-label": `${names[key]} after` }, text(wanted[key]))))),
    h("p.small.muted", {}, "On the left as it is, on the right as it will be. It is in force at once."),
    h("div.row.end", {}, button("Cancel", () => close(false)), button("Change it", () => close(true), "main")),
  ]);
}

/** A schema for a payload that came by. */
function guess(payload) {
  try {
    const object = JSON.parse(payload);
    const type = (value) => typeof value === "boolean" ? "bool" : typeof value === "number" ? "float" : typeof value === "string" ? "str" : null;
    const entries = Object.entries(object).map(([key, value]) => [key, type(value)]).filter(([, kind]) => kind);
    if (entries.length) return JSON.stringify(Object.fromEntries(entries), null, 2);
  } catch { /* No JSON: the preset. */ }
  return PRESETS[0][1];
}

function tester(frame, fields, written) {
  if (!frame.may("operate")) return null;
  const topic = h("input", { placeholder: "only if the flow's topic has wildcards", spellcheck: "false", value: /[+#{]/.test(fields.topic.value) ? "" : fields.topic.value });
  const payload = h("textarea", { rows: 6, spellcheck: "false", value: frame.query.get("payload") || '{"temperature": 23.5, "humidity": 65.2}' });
  const answer = h("div.stack", { role: "status" });
  const test = async (event) => {
    put(answer);
    const button = event.currentTarget;
    button.disabled = true;
    try {
      put(answer, verdict(await post("flows/test", { flow: { ...written(), code: fields.code.value.trim() || "TEST" }, topic: topic.value.trim() || null, payload: payload.value })));
    } catch (error) { put(answer, problem(error)); } finally { button.disabled = false; }
  };
  let close = null;
  const take = (event) => {
    const button = event.currentTarget, filter = fields.topic.value.trim().replace(/\{[^}]*\}/g, "+");
    if (close) { close(); close = null; button.textContent = "Take the next real message"; return; }
    button.textContent = "Waiting; click to stop";
    close = stream({ watch: "messages", topic: filter }, { message: (fate) => {
      if (fate.later || fate.text === null) return;
      payload.value = pretty(fate.text); topic.value = fate.topic;
      close(); close = null; button.textContent = "Take the next real message";
      toast(`Taken from ${fate.topic}`);
    } });
  };
  return h("section.card.stack", { "aria-label": "Test" }, h("h2", {}, "Test it"),
    h("p.small.muted", {}, "As the flow is in the form, saved or not. Nothing is sent, stored or counted."),
    field("Topic of the message", topic), field("Payload", payload),
    h("div.row", {}, button("Test", test, "main"), button("Take the next real message", take)), answer);
}

function verdict(result) {
  if (!result.valid) {
    return [h("div.note.bad", {}, h("strong", {}, "Refused: it would be a dead letter."), h("ul", {}, (result.errors || []).map((error) => h("li", {}, error.pointer ? h("code", {}, error.pointer) : null, error.pointer ? " " : "", error.message))))];
  }
  return [h("div.note.ok", {}, h("strong", {}, "Accepted.")), result.captures && h("p.small", {}, "Captured: ", h("code", {}, JSON.stringify(result.captures))),
    (result.actions || []).map((action) => h("div.stack", {}, h("h3", {}, action.action),
      action.error && problem(new Error(action.error)),
      action.rows && table([["Attribute", (row) => row.attribute_name], ["Value", (row) => h("code", {}, row.attribute_value)]], action.rows, "Rows that would be stored"),
      action.table && h("p.small", {}, "and a row in the table ", h("code", {}, action.table)),
      action.request && h("pre", { tabindex: "0" }, `${action.request.method} ${action.request.url}\n${action.request.headers.join("\n")}\n\n${pretty(action.request.body)}`),
      action.topic && h("p", {}, "to ", h("code", {}, action.topic)), action.level && h("p", {}, "at level ", h("code", {}, action.level))))];
}
