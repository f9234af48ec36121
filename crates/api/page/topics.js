// The topics that came by, level by level.

import { h, put, chip, button, empty, when, compact, spark } from "./dom.js";
import { get } from "./api.js";
import { link } from "./main.js";

export async function view(frame) {
  const tree = h("div.card.tree"), told = h("p.small.muted");
  const open = new Set((frame.query.get("open") || "").split(",").filter(Boolean));
  const draw = async () => {
    const level = await get("topics");
    if (!level.topics.length) { put(frame.body, empty("topics", "No topic has come by yet. The gateway sees those that its flows and interfaces subscribe to.")); return; }
    put(told, `${level.known === 1 ? "1 topic" : `${compact(level.known)} topics`} came by; the gateway sees what its flows and interfaces subscribe to.`, level.unnoticed ? ` ${compact(level.unnoticed)} messages went unnoticed: too many topics, or too much at once.` : "");
    put(tree, list(level, open));
    put(frame.body, told, tree);
  };
  put(frame.actions, button("Read again", draw));
  await draw();
  return undefined;
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
