// The topics that came by, level by level.

import { h, put, chip, button, table, empty, confirm, attempt, when, compact, bytes, spark } from "./dom.js";
import { ask, get } from "./api.js";
import { link } from "./main.js";

export async function view(frame) {
  const tree = h("div.card.tree"), told = h("p.small.muted");
  const open = new Set((frame.query.get("open") || "").split(",").filter(Boolean));
  const draw = async () => {
    const level = await get("topics");
    if (!level.topics.length) { put(frame.body, empty("topics", "No topic has come by yet. The gateway sees those that its flows and interfaces subscribe to.")); return; }
    put(told, `${level.known === 1 ? "1 topic" : `${compact(level.known)} topics`} came by; the gateway sees what its flows and interfaces subscribe to.`, level.unnoticed ? ` ${compact(level.unnoticed)} messages went unnoticed: too many topics, or too much at once.` : "");
    put(tree, list(level, open));
    put(frame.body, told, tree, kept);
  };
  const kept = h("section.card.stack", { "aria-label": "Retained messages", hidden: true });
  const read = async () => { await draw(); await retained(frame, kept); };
  put(frame.actions, button("Read again", (event) => attempt(event.currentTarget, read)));
  await read();
  return undefined;
}

/** What the embedded broker gives to whoever subscribes; a broker elsewhere does not tell. */
async function retained(frame, card) {
  let found;
  try { found = await get("topics/retained"); } catch (error) { if (error.code === "not-here") return; throw error; }
  const clear = (topic) => async (event) => {
    const target = event.currentTarget;
    if (!(await confirm(`Clear what is retained for ${topic}?`, "Whoever subscribes later gets nothing there until somebody publishes again. Those who listen now are told that it is gone.", "Clear"))) return;
    await attempt(target, () => ask("DELETE", "topics/retained", { query: { topic } }), `${topic} is cleared`);
    retained(frame, card);
  };
  card.hidden = !found.messages.length;
  put(card, h("div.title", {}, h("h2", {}, "Retained messages"), h("span.small.muted", {}, `${compact(found.messages.length + found.left_out)} at the embedded broker`)), table([
    ["Topic", (one) => h("code.wrap", {}, one.topic), "topic"],
    ["Payload", (one) => h("code.wrap", {}, (one.text ?? `${one.hex.slice(0, 60)} (hex)`).slice(0, 160) || "(empty)")],
    ["Size", (one) => bytes(one.bytes), "number"],
    ["", (one) => [h("a.button.small", { href: link("flows", ["new"], { topic: one.topic, payload: one.text ?? "" }), "aria-label": `Make a flow of ${one.topic}, retained` }, "Make a flow"), " ",
      frame.may("operate") && button("Clear", clear(one.topic), "small danger", { "aria-label": `Clear ${one.topic}` })], "actions"],
  ], found.messages, "Retained messages of the embedded broker"), found.left_out > 0 && h("p.small.muted", {}, `${compact(found.left_out)} more are left out here.`));
  if (!card.isConnected) frame.body.append(card);
}

function list(level, open) {
  return h("ul", {}, level.topics.map((topic) => h("li", {}, topic.children ? branch(topic, open) : h("div.leaf", {}, line(topic)))),
    level.left_out > 0 && h("li.small.muted", {}, `… and ${compact(level.left_out)} more`));
}

function branch(topic, open) {
  const below = h("div");
  const load = async () => {
    open.add(topic.topic);
    try { put(below, list(await get("topics", { under: topic.topic }), open)); } catch (error) { put(below, h("p.small", {}, error.message)); }
  };
  const element = h("details", { ontoggle: () => (element.open ? load() : open.delete(topic.topic)) }, h("summary", {}, line(topic)), below);
  if (open.has(topic.topic)) element.open = true;
  return element;
}

function line(topic) {
  const count = topic.messages === 1 ? "1 message" : `${compact(topic.messages)} messages`;
  return [h("strong", {}, topic.name || "(empty)"), topic.value !== null && h("span.value", {}, topic.value || "(empty)"), topic.numbers.length > 1 && spark(topic.numbers), topic.retained && chip("tag", "retained"),
    h("span.small.muted", {}, count, topic.children ? `, ${topic.children === 1 ? "1 topic" : `${compact(topic.children)} topics`} below` : "", ", ", when(topic.last_at)),
    topic.value !== null && h("a.small", { href: link("live", [], { topic: topic.topic }), "aria-label": `Watch ${topic.topic}` }, "watch"),
    topic.value !== null && h("a.small", { href: link("flows", ["new"], { topic: topic.topic, payload: topic.value }), "aria-label": `Make a flow of ${topic.topic}` }, "make a flow")];
}
