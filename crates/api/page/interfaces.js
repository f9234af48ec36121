// The device interfaces: how each is, what went through it, a command to it, and the last frames of its line.

import { h, put, chip, button, field, empty, attempt, compact, time, bytes, hexdump, pretty, toast, problem } from "./dom.js";
import { get, post, segment } from "./api.js";
import { link } from "./main.js";

const STATES = { ok: ["ok", "works"], waiting: ["wait", "waits"], failed: ["bad", "failed"], off: ["", "off"] };

export async function view(frame) {
  const [name] = frame.rest;
  if (name !== undefined) return detail(frame, name);
  const cards = h("div.cards");
  const draw = async () => {
    const { interfaces } = await get("interfaces");
    if (!interfaces.length) { put(frame.body, empty("interfaces", "No interface is configured. An interface translates messages for a device: add [interfaces.NAME] to the configuration, or let `hearthgate interface new NAME` write one.", h("a.button", { href: link("system") }, "Configuration"))); return; }
    put(cards, interfaces.map((one) => card(frame, one, draw)));
    put(frame.body, cards);
  };
  await draw();
  const timer = setInterval(() => { if (!document.hidden && !cards.contains(document.activeElement)) draw().catch(() => {}); }, 2000);
  return () => clearInterval(timer);
}

function card(frame, one, draw, isAlone = false) {
  const order = (name, done) => async (event) => { await attempt(event.currentTarget, () => post(`actors/${segment(one.actor)}/${name}`), `${one.name} ${done}`); draw(); };
  return h("article.card.stack", { "aria-label": one.name },
    h("div.title", {}, h("h2", {}, isAlone ? "State" : h("a", { href: link("interfaces", [one.name]) }, one.name)), chip(...STATES[one.state])),
    one.reason && h(`div.note.${one.state === "failed" ? "bad" : "wait"}`, {}, one.reason),
    h("div.figures", {}, [["To the device", one.received], ["From the device", one.emitted], ["Refused", one.refused]].map(([name, count]) => h("div", {}, h("div.small.muted", {}, name), h("strong", {}, compact(count))))),
    h("p.small", {}, h("span.muted", {}, "Kind "), one.kind, h("br"), h("span.muted", {}, "Listens to "), one.topics.map((topic, index) => [index ? ", " : "", h("code.wrap", {}, topic)])),
    h("div.row", {}, !isAlone && h("a.button.small", { href: link("interfaces", [one.name]), "aria-label": `Open ${one.name}` }, "Open"), one.topics[0] && h("a.button.small", { href: link("live", [], { topic: one.topics[0] }) }, "Watch"),
      frame.may("operate") && (one.state === "off" ? button("Start", order("start", "is started"), "small") : [button("Restart", order("restart", "is restarted"), "small"), button("Stop", order("stop", "is stopped"), "small")])));
}

/** One interface: its state, a command to it, its line. */
async function detail(frame, name) {
  frame.title(name);
  put(frame.actions, h("a.button", { href: link("interfaces") }, "All interfaces"));
  const state = h("div"), list = h("div.stack"), told = h("p.small.muted", { role: "status" });
  let last = "";
  const find = async () => (await get("interfaces")).interfaces.find((one) => one.name === name);
  const draw = async () => {
    const one = await find();
    if (one) put(state, card(frame, one, draw, true));
    const { frames, left_out } = await get(`interfaces/${segment(name)}/frames`);
    const key = JSON.stringify(frames);
    if (key === last) return;
    last = key;
    told.textContent = left_out ? `${compact(left_out)} frames were left out because too many came at once.` : "The newest first, both ways; kept in memory only.";
    put(list, frames.length ? frames.map(line) : h("p.muted", {}, one?.kind === "dummy" ? "A dummy has no device, so no frame goes to and fro." : "Nothing has gone over the line yet."));
  };
  const one = await find();
  if (!one) { put(frame.body, problem(new Error(`There is no interface ${name}; it may have been removed from the configuration.`))); return undefined; }
  put(frame.body, h("div.two", {}, h("section.card.stack", { "aria-label": "Line" }, h("h2", {}, "Last frames"), told, list), h("div.stack", {}, state, command(frame, one, draw))));
  await draw();
  const timer = setInterval(() => { if (!document.hidden && !state.contains(document.activeElement) && !list.querySelector("details[open]")) draw().catch(() => {}); }, 2000);
  return () => clearInterval(timer);
}

function line(one) {
  const shown = one.text !== null && !/[\x00-\x08\x0e-\x1f\x7f]/.test(one.text) ? one.text : one.hex.match(/../g)?.join(" ") || "";
  const isKnown = one.meaning.startsWith("{");
  return h(`details.message.line${isKnown ? "" : ".wait"}`, {},
    h("summary", {}, h("time", { datetime: one.at }, time(one.at)), h("span.topic", {}, one.to_device ? "→ to the device" : "← from the device"), h("span.payload", {}, shown || "(empty)"), h("span.fates", {}, isKnown ? chip("ok", action(one.meaning)) : chip("wait", "not understood"))),
    h("div.body", {}, h("h3", {}, "Message"), h("pre", { tabindex: "0", "aria-label": "Message" }, one.meaning ? one.meaning.split("\n").map(pretty).join("\n") : "(none)"),
      h("h3", {}, `${bytes(one.bytes)} on the line`), h("pre", { tabindex: "0", "aria-label": "Bytes" }, hexdump(one.hex) || "(none)")));
}

/** What the first message is about. */
function action(meaning) {
  try { return JSON.parse(meaning.split("\n")[0]).action || "no action"; } catch { return "message"; }
}

/** A command in the words of the map, and what the map makes of it. */
function command(frame, one, draw) {
  if (!frame.may("operate")) return null;
  const topic = h("input", { required: true, spellcheck: "false", autocapitalize: "off", value: example(one.topics[0] || "") });
  const payload = h("input", { spellcheck: "false", autocapitalize: "off", placeholder: "on, or {\"action\": \"on\"}" });
  const answer = h("div.stack", { role: "status" });
  const send = async (event) => {
    event.preventDefault();
    put(answer);
    const sender = event.submitter;
    sender.disabled = true;
    try {
      const { message } = await post(`interfaces/${segment(one.name)}/commands`, { topic: topic.value.trim(), payload: payload.value });
      put(answer, h("div.note.ok", {}, h("strong", {}, "Handed over. "), "The map made this of it:"), h("pre", { tabindex: "0", "aria-label": "Decoded message" }, JSON.stringify(message, null, 2)));
      toast(`${one.name} has the command`);
      setTimeout(draw, 400);
    } catch (error) { put(answer, problem(error)); } finally { sender.disabled = false; }
  };
  return h("form.card.stack", { "aria-label": "Command", onsubmit: send }, h("h2", {}, "Send a command"),
    field("Topic of the command", topic, `In the words of the map; one that fits ${one.topics.join(" or ")}.`), field("Payload", payload),
    h("div.row", {}, h("button.button.main", { type: "submit" }, "Send")), answer);
}

/** A topic that a filter takes: a sender of our own where the last level but one is free, nothing elsewhere. */
const example = (filter) => filter.split("/").map((level, index, all) => (level !== "+" ? level : index === all.length - 2 ? "page" : "")).join("/");
