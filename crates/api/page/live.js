// Messages as they pass, each with what became of it. The gateway filters; a view that is too slow is told what it missed.

import { h, put, chip, button, field, select, empty, time, bytes, pretty, hexdump, number, icon } from "./dom.js";
import { get, stream } from "./api.js";
import { link, note } from "./main.js";

const MOST = 200;
const OUTCOMES = [["", "All"], ["bad", "All that failed"], ["accepted", "Accepted"], ["refused", "Refused"], ["kept_back", "Kept back"], ["unwanted", "Wanted by no flow"], ["repeated", "Sent again"]];
export const WORDS = { accepted: "taken", kept_back: "kept back", refused: "refused", repeated: "sent again", unwanted: "no flow", stored: "stored", delivered: "delivered", retried: "tried again", dead: "dead letter" };
export const KINDS = { accepted: "ok", stored: "ok", delivered: "ok", refused: "bad", dead: "bad", retried: "wait", kept_back: "", repeated: "", unwanted: "" };

export async function view(frame) {
  const wanted = () => ({ topic: topic.value.trim(), flow: flow.value, outcome: outcome.value, text: text.value.trim() });
  const topic = h("input", { value: frame.query.get("topic") || "", placeholder: "sensors/#", spellcheck: "false", autocapitalize: "off" });
  const flow = select([["", "Any"]], "");
  const outcome = select(OUTCOMES, frame.query.get("outcome") || "");
  const text = h("input", { value: frame.query.get("text") || "", placeholder: "in topic, payload or reason" });
  const list = h("div.messages", { role: "group", "aria-label": "Messages, the newest first" });
  const told = h("p.small.muted", { role: "status" });
  const failed = h("div");
  let missed = 0, seen = 0, waiting = [], timer = null, close = null, isPaused = false, isThere = false;
  const rows = new Map();

  const pause = button([icon("pause"), "Pause"], () => {
    isPaused = !isPaused;
    put(pause, icon(isPaused ? "play" : "pause"), isPaused ? "Go on" : "Pause");
    pause.setAttribute("aria-pressed", String(isPaused));
    if (isPaused) { close?.(); close = null; isThere = false; state(); } else watch();
  }, "", { "aria-pressed": "false" });
  put(frame.actions, pause, button("Clear", () => { rows.clear(); seen = missed = 0; put(list); show(); }));

  const form = h("form.card.fields.tight", { onsubmit: (event) => { event.preventDefault(); watch(); } },
    field("Topic filter", topic), field("Flow", flow), field("Outcome", outcome), field("Text", text));
  form.addEventListener("change", watch);
  put(frame.body, form, failed, told, list);

  get("flows").then(({ flows }) => {
    put(flow, [["", "Any"], ...flows.map((one) => [one.code, one.code])].map(([key, name]) => h("option", { value: key }, name)));
    flow.value = frame.query.get("flow") || "";
    if (flow.value && !isPaused) watch();
  }).catch(() => {});

  function state() {
    const heard = isPaused ? "Paused; nothing is sent to this page." : isThere ? "Listening." : "Connecting …";
    told.textContent = `${heard} ${number(seen)} shown${missed ? `, ${number(missed)} missed because more came than one can look at` : ""}.`;
  }

  function watch() {
    if (isPaused) return;
    close?.();
    const query = wanted();
    note("live", [], query);
    put(failed);
    close = stream({ watch: "messages", ...query }, {
      message: (fate) => { waiting.push(fate); plan(); },
      missed: ({ count }) => { missed += count; plan(); },
      state: (there) => { isThere = there; state(); },
    });
    state();
    show();
  }

  function plan() { timer = timer || setTimeout(show, 200); }

  function show() {
    timer = null;
    for (const fate of waiting.splice(0)) {
      const key = fate.later ? `seq ${fate.seq}` : `${fate.received_at} ${fate.topic}`;
      const known = rows.get(key);
      if (known) { known.add(fate); continue; }
      if (fate.later) continue;
      seen++;
      const row = message(fate);
      rows.set(key, row);
      if (fate.seq) rows.set(`seq ${fate.seq}`, row);
      row.keys = [key, `seq ${fate.seq}`];
      list.prepend(row.element);
      row.element.row = row;
      while (list.children.length > MOST) {
        const last = list.lastElementChild;
        for (const gone of last.row?.keys || []) rows.delete(gone);
        last.remove();
      }
    }
    if (!list.children.length) put(list, empty("live", "Nothing has passed yet that this filter takes. Publish something, or widen the filter."));
    else list.querySelector(":scope > .empty")?.remove();
    state();
  }

  watch();
  return () => { close?.(); clearTimeout(timer); };
}

function message(fate) {
  const steps = [...fate.steps];
  const fates = h("span.fates"), body = h("div.body");
  const element = h("details.message", { ontoggle: () => element.open && fill() },
    h("summary", {}, h("time", { datetime: fate.received_at }, time(fate.received_at)), h("span.topic", {}, fate.topic),
      h("span.payload", {}, fate.text ?? `${fate.hex.slice(0, 60)} (hex)`), fates), body);
  const seqs = [fate.seq];
  let last = fate.millis;

  const draw = () => {
    const isBad = steps.some((step) => step.bad);
    element.className = `message ${isBad ? "bad" : steps.every((step) => !KINDS[step.outcome]) ? "off" : ""}`;
    // What came of an acceptance says it as well.
    const shown = steps.filter((step) => !(step.outcome === "accepted" && steps.some((other) => other.flow === step.flow && other.outcome !== "accepted")));
    put(fates, shown.map((step) => chip(KINDS[step.outcome], [step.flow ? `${step.flow}: ` : "", WORDS[step.outcome] || step.outcome], step.reason)));
    if (element.open) fill();
  };
  const fill = () => put(body,
    steps.filter((step) => step.reason).map((step) => h(`div.note${step.bad ? ".bad" : ""}`, {}, h("strong", {}, step.flow || "every flow", step.pointer ? ` at ${step.pointer}` : "", ": "), step.reason)),
    h("pre", { tabindex: "0", "aria-label": "Payload" }, fate.text === null ? hexdump(fate.hex) : pretty(fate.text)),
    h("p.small.muted", {}, `${bytes(fate.bytes)} · QoS ${fate.qos}${fate.retain ? " · retained" : ""}`, seqs[0] ? ` · number ${seqs[0]} in the journal` : "", ` · done ${number(Math.round(last * 10) / 10)} ms after it came in`),
    h("div.row", {}, h("a.button.small", { href: link("flows", ["new"], { topic: fate.topic, payload: (fate.text || "").slice(0, 1500) }) }, "Make a flow from this"),
      h("a.button.small", { href: link("live", [], { topic: fate.topic }) }, "Only this topic")));
  draw();
  return { element, add: (more) => { steps.push(...more.steps); seqs[0] ??= more.seq; last = Math.max(last, more.millis); draw(); } };
}
