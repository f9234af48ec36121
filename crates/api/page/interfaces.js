// The device interfaces: how each is, and what went through it.

import { h, put, chip, button, empty, attempt, compact } from "./dom.js";
import { get, post, segment } from "./api.js";
import { link } from "./main.js";

const STATES = { ok: ["ok", "works"], waiting: ["wait", "waits"], failed: ["bad", "failed"], off: ["", "off"] };

export async function view(frame) {
  const cards = h("div.cards");
  const draw = async () => {
    const { interfaces } = await get("interfaces");
    if (!interfaces.length) { put(frame.body, empty("interfaces", "No interface is configured. An interface translates messages for a device: [interfaces.NAME] in the configuration.")); return; }
    put(cards, interfaces.map((one) => card(frame, one, draw)));
    put(frame.body, cards);
  };
  await draw();
  const timer = setInterval(() => { if (!document.hidden && !cards.contains(document.activeElement)) draw().catch(() => {}); }, 2000);
  return () => clearInterval(timer);
}

function card(frame, one, draw) {
  const order = (name, done) => async (event) => { await attempt(event.currentTarget, () => post(`actors/${segment(one.actor)}/${name}`), `${one.name} ${done}`); draw(); };
  return h("article.card.stack", { "aria-label": one.name },
    h("div.title", {}, h("h2", {}, one.name), chip(...STATES[one.state])),
    one.reason && h(`div.note.${one.state === "failed" ? "bad" : "wait"}`, {}, one.reason),
    h("div.figures", {}, [["To the device", one.received], ["From the device", one.emitted], ["Refused", one.refused]].map(([name, count]) => h("div", {}, h("div.small.muted", {}, name), h("strong", {}, compact(count))))),
    h("p.small", {}, h("span.muted", {}, "Kind "), one.kind, h("br"), h("span.muted", {}, "Listens to "), one.topics.map((topic, index) => [index ? ", " : "", h("code.wrap", {}, topic)])),
    h("div.row", {}, one.topics[0] && h("a.button.small", { href: link("live", [], { topic: one.topics[0] }) }, "Watch"),
      frame.may("operate") && (one.state === "off" ? button("Start", order("start", "is started"), "small") : [button("Restart", order("restart", "is restarted"), "small"), button("Stop", order("stop", "is stopped"), "small")])));
}
