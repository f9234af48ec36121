// What became of messages, looked back at: the newest of each flow and outcome, also those from before a restart.

import { h, put, chip, button, field, select, empty, when, bytes, pretty, hexdump, attempt } from "./dom.js";
import { get } from "./api.js";
import { link, note } from "./main.js";
import { WORDS, KINDS } from "./live.js";

const OUTCOMES = [["", "All"], ["bad", "All that failed"], ...Object.entries(WORDS)];

export async function view(frame) {
  const topic = h("input", { value: frame.query.get("topic") || "", placeholder: "sensors/#", spellcheck: "false", autocapitalize: "off" });
  const flow = h("input", { value: frame.query.get("flow") || "", spellcheck: "false", autocapitalize: "off" });
  const outcome = select(OUTCOMES, frame.query.get("outcome") || "bad");
  const list = h("div.messages", { role: "group", "aria-label": "Fates, the newest first" });
  const read = async (event) => {
    const query = { topic: topic.value.trim(), flow: flow.value.trim(), outcome: outcome.value };
    note("fates", [], query);
    const found = await attempt(event?.currentTarget, () => get("fates", query));
    if (!found) return;
    put(list, found.fates.length ? found.fates.map(row) : empty("fates", "No fate that is kept is like that."));
  };
  const form = h("form.card.fields.tight", { onsubmit: (event) => { event.preventDefault(); read(); } },
    field("Topic filter", topic), field("Flow", flow), field("Outcome", outcome));
  form.addEventListener("change", () => read());
  put(frame.actions, button("Read again", read));
  put(frame.body, h("p.muted", {}, "The newest 20 of each flow and outcome. The many good ones never push out the few bad ones. What passes now is under ", h("a", { href: link("live") }, "Live"), "."), form, list);
  await read();
  return undefined;
}

function row(fate) {
  const payload = fate.text ?? `${fate.hex.slice(0, 60)} (hex)`;
  return h(`details.message${fate.is_bad ? ".bad" : KINDS[fate.outcome] ? "" : ".off"}`, {},
    h("summary", {}, when(fate.received_at), h("span.topic", {}, fate.topic || `number ${fate.seq}`), h("span.payload", {}, payload),
      h("span.fates", {}, chip(KINDS[fate.outcome], [fate.flow ? `${fate.flow}: ` : "", WORDS[fate.outcome] || fate.outcome], fate.reason))),
    h("div.body", {},
      fate.reason && h(`div.note${fate.is_bad ? ".bad" : ""}`, {}, h("strong", {}, fate.flow || "every flow", fate.pointer ? ` at ${fate.pointer}` : "", ": "), fate.reason),
      h("pre", { tabindex: "0", "aria-label": "Payload" }, fate.text === null ? hexdump(fate.hex) : pretty(fate.text)),
      h("p.small.muted", {}, bytes(fate.bytes), fate.seq ? ` · number ${fate.seq} in the journal` : ""),
      h("div.row", {}, fate.flow && h("a.button.small", { href: link("flows", [fate.flow]) }, "Open the flow"), fate.topic && h("a.button.small", { href: link("live", [], { topic: fate.topic }) }, "Watch this topic"))));
}
