// Calls of endpoints: what became of the last ones, what waits for what, and a trial.

import { h, put, chip, button, field, empty, dialog, problem, when, time, compact, number } from "./dom.js";
import { get, post, segment } from "./api.js";
import { link } from "./main.js";

const ENDS = { delivered: ["ok", "delivered"], retried: ["wait", "failed, tried again"], given_up: ["bad", "given up"] };

export async function view(frame) {
  const cards = h("div.stack");
  let last = "";
  const draw = async () => {
    const { flows } = await get("deliveries");
    const key = JSON.stringify(flows);
    if (key === last) return;
    last = key;
    if (!flows.length) { put(frame.body, empty("deliveries", "No flow calls an endpoint. A flow with the action POST_ENDPOINT sends each message to a URL, and tries again when that fails.", frame.may("admin") && h("a.button.main", { href: link("flows", ["new"], { action: "POST_ENDPOINT" }) }, "Make one"))); return; }
    put(cards, flows.map((one) => card(frame, one)));
    put(frame.body, h("p.muted", {}, "The last calls of each flow since the gateway was started. What is given up is a ", h("a", { href: link("letters") }, "dead letter"), "."), cards);
  };
  await draw();
  const timer = setInterval(() => { if (!document.hidden && !cards.contains(document.activeElement) && !cards.querySelector("details[open]")) draw().catch(() => {}); }, 2000);
  return () => clearInterval(timer);
}

function card(frame, one) {
  const [newest] = one.attempts;
  const state = !one.enabled ? ["", "off"] : one.breaker === "open" ? ["bad", "endpoint rests"] : one.breaker === "probing" ? ["wait", "is tried out"] : !newest ? ["", "no call yet"] : newest.outcome === "delivered" ? ["ok", "works"] : ["wait", "fails"];
  return h("article.card.stack", { "aria-label": one.flow },
    h("div.title", {}, h("h2", {}, h("a", { href: link("flows", [one.flow]) }, one.flow)), chip(...state)),
    h("p.small", {}, h("span.muted", {}, "Calls "), h("code.wrap", {}, one.endpoint || "a URL made of each message")),
    advice(one),
    h("div.row", {}, frame.may("operate") && one.enabled && button("Send a test", () => trial(one), "small", { "aria-label": `Send a test to ${one.flow}` }),
      h("a.button.small", { href: link("live", [], { flow: one.flow }) }, "Watch"), h("a.button.small", { href: link("letters", [], { flow: one.flow }) }, "Dead letters")),
    one.attempts.length > 0 && timeline(one),
    one.left_out > 0 && h("p.small.muted", {}, `${compact(one.left_out)} more came through and are not listed.`));
}

/** What goes on, and what to do about it. */
function advice(one) {
  if (!one.enabled) return h("div.note", {}, "The flow is switched off: nothing is sent. Switch it on in its form.");
  const waits = one.behind > 0 ? ` Up to ${compact(one.behind)} messages wait, safe in the journal.` : "";
  if (one.breaker === "open") return h("div.note.bad", {}, "It failed so often that calls to it rest ", one.breaker_until ? ["until ", h("strong", {}, time(one.breaker_until))] : "for a while", `; then one call tries it out.${waits} Mend the endpoint, then send a test.`);
  if (one.next_at && new Date(one.next_at) > Date.now() - 1000) return h("div.note.wait", {}, "The next try is at ", h("strong", {}, time(one.next_at)), `.${waits}`);
  return waits ? h("div.note.wait", {}, waits.trim()) : null;
}

/** The newest few; the others on demand. */
function timeline(one) {
  const shown = (attempts) => attempts.map(attempt), few = one.attempts.slice(0, 6), many = one.attempts.slice(6);
  const list = (attempts, name) => h("ol.timeline", { "aria-label": `${name} of ${one.flow}, the newest first` }, shown(attempts));
  return [list(few, "Calls"), many.length > 0 && h("details", {}, h("summary.small", {}, `${number(many.length)} earlier ones`), list(many, "Earlier calls"))];
}

function attempt(one) {
  const kind = ENDS[one.outcome] || ["", one.outcome];
  return h(`li.${kind[0] || "off"}`, {}, h("div.row", {}, chip(...kind), h("strong", {}, one.status ? `HTTP ${one.status}` : one.outcome === "delivered" ? "" : "no answer"), h("span.small.muted", {}, when(one.at), ` · try ${number(one.number)} · ${number(Math.round(one.millis))} ms${one.seq ? ` · number ${one.seq}` : ""}`)),
    h("div.small.wrap", {}, h("code.wrap", {}, one.topic)), one.reason && h("div.small.wrap", {}, one.reason));
}

function trial(one) {
  return dialog(`Send a test to ${one.flow}`, (close) => {
    const topic = h("input", { spellcheck: "false", autocapitalize: "off", placeholder: "only if the flow's topic has wildcards" });
    const payload = h("textarea", { rows: 5, spellcheck: "false", value: "{}" });
    const answer = h("div.stack", { role: "status" });
    get(`flows/${segment(one.flow)}`).then((flow) => {
      payload.value = JSON.stringify(sample(flow.schema), null, 2);
      topic.value = flow.topic.replace(/\{[^}]*\}|\+/g, "test").replace(/\/?#$/, "/test");
    }).catch(() => {});
    const send = async (event) => {
      event.preventDefault();
      put(answer);
      const sender = event.submitter;
      sender.disabled = true;
      try {
        const tried = await post(`deliveries/${segment(one.flow)}/test`, { topic: topic.value.trim() || null, payload: payload.value });
        const isGood = tried.outcome === "delivered";
        put(answer, h(`div.note.${isGood ? "ok" : "bad"}`, {}, h("strong", {}, isGood ? "The endpoint took it: " : "It did not come through: "), tried.status ? `HTTP ${tried.status}` : "no answer", ` after ${number(Math.round(tried.millis))} ms.`, tried.reason && h("div.wrap", {}, tried.reason)));
      } catch (error) { put(answer, problem(error)); } finally { sender.disabled = false; }
    };
    return h("form.stack", { onsubmit: send }, h("p.small.muted", {}, "One real call, with the flow's headers and signature. It is stored nowhere and never tried again."),
      field("Topic of the test", topic), field("Payload of the test", payload), answer,
      h("div.row.end", {}, button("Close", () => close()), h("button.button.main", { type: "submit" }, "Send it")));
  });
}

/** A payload that a short schema takes. */
function sample(schema) {
  const values = { int: 1, integer: 1, float: 1.5, number: 1.5, bool: true, boolean: true };
  if (schema && schema.type === "object" && schema.properties) return Object.fromEntries(Object.entries(schema.properties).map(([key, value]) => [key, values[value.type] ?? "test"]));
  return Object.fromEntries(Object.entries(schema || {}).map(([key, value]) => [key.replace(/\?$/, ""), values[String(value).replace(/\?$/, "")] ?? "test"]));
}
