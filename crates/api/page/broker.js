// The embedded broker: who is connected, what waits for whom.

import { h, put, chip, button, field, table, empty, confirm, attempt, when, compact, bytes } from "./dom.js";
import { get, post, segment } from "./api.js";
import { link } from "./main.js";

export async function view(frame) {
  let state;
  const find = h("input", { type: "search", placeholder: "client id, user or filter", "aria-label": "Find clients" });
  const tiles = h("div.tiles"), card = h("section.card.stack", { "aria-label": "Clients" }), rows = h("div");
  put(card, h("div.title", {}, h("h2", {}, "Clients"), find), rows);
  const draw = () => {
    const text = find.value.toLowerCase();
    const clients = state.clients.filter((client) => !text || [client.id, client.user || "", ...client.subscriptions].some((value) => value.toLowerCase().includes(text)));
    put(tiles, [["Connected", state.clients.filter((client) => client.connected).length], ["Sessions", state.clients.length + state.left_out], ["Retained messages", state.retained], ["Dropped for full queues", state.dropped]]
      .map(([name, value]) => h("div.tile", {}, h("span.small.muted", {}, name), h("span.value", {}, compact(value)))));
    put(rows, clients.length ? table([
      ["Client", (client) => [h("strong.wrap", {}, client.id), client.user && h("div.small.muted", {}, client.user)]],
      ["State", (client) => client.connected ? chip("ok", "connected") : [chip("", "away"), h("div.small.muted", {}, "since ", when(client.left_at))]],
      ["MQTT", (client) => client.protocol],
      ["Subscriptions", (client) => client.subscriptions.length ? [h("code.wrap", {}, client.subscriptions.slice(0, 4).join(", ")), client.subscriptions.length > 4 && ` and ${client.subscriptions.length - 4} more`] : h("span.muted", {}, "none")],
      ["Waiting", (client) => (client.queued + client.inflight ? `${compact(client.queued + client.inflight)} (${bytes(client.queued_bytes)})` : "0"), "number"],
      ["", (client) => client.connected && frame.may("operate") && button("Disconnect", async (event) => {
        const target = event.currentTarget;
        if (!(await confirm(`Disconnect ${client.id}?`, "Its connection ends. Most clients connect again by themselves; what waits for it is kept as its session says.", "Disconnect"))) return;
        await attempt(target, () => post(`broker/clients/${segment(client.id)}/disconnect`), `${client.id} was disconnected`);
        setTimeout(read, 300);
      }, "small", { "aria-label": `Disconnect ${client.id}` }), "actions"],
    ], clients, "Clients of the embedded broker") : h("p.muted", {}, text ? "No client is like that." : "No client is connected, and no session is kept."),
    state.left_out > 0 && h("p.small.muted", {}, `${compact(state.left_out)} more are left out here.`));
  };
  const read = async () => {
    state = await get("broker");
    draw();
  };
  find.addEventListener("input", draw);
  try { await read(); } catch (error) {
    if (error.code !== "not-here") throw error;
    put(frame.body, empty("broker", "The gateway uses a broker elsewhere; its clients show there. The embedded one is switched on by [broker] enabled.", h("a.button", { href: link("system") }, "Configuration")));
    return undefined;
  }
  put(frame.body, h("p.muted", {}, "Listens on ", state.listens.map((address, index) => [index ? ", " : "", h("code", {}, address)])), tiles, card, rights());
  const timer = setInterval(() => { if (!document.hidden && !rows.contains(document.activeElement)) read().catch(() => {}); }, 2500);
  return () => clearInterval(timer);
}

/** The broker itself answers, by the lists that it decides by. */
function rights() {
  const user = h("input", { autocomplete: "off", spellcheck: "false" }), client = h("input", { autocomplete: "off", spellcheck: "false" });
  const topic = h("input", { required: true, placeholder: "home/kitchen/light", spellcheck: "false", autocapitalize: "off" });
  const answer = h("div", { role: "status" });
  const ask = async (event) => {
    event.preventDefault();
    const found = await attempt(event.submitter, () => get("broker/rights", { user: user.value, client: client.value, topic: topic.value }));
    if (!found) return;
    const who = user.value || (client.value ? `client ${client.value}` : "a client without a name");
    const may = (is, does) => h("li", {}, chip(is ? "ok" : "bad", is ? "may" : "may not"), ` ${does} ${found.topic}`);
    put(answer, found.may_connect ? h("ul.stack", { "aria-label": `Rights of ${who}` }, may(found.may_publish, "publish to"), may(found.may_receive, "receive"))
      : h("div.note.wait", {}, `The broker lets ${who} not connect: add it under [broker.users], or allow clients without a name.`));
  };
  return h("form.card.stack", { "aria-label": "Rights", onsubmit: ask }, h("h2", {}, "Who may what?"),
    h("div.fields", {}, field("User", user, "Empty: without a name"), field("Client id", client), field("Topic", topic)),
    h("div.row", {}, h("button.button", { type: "submit" }, "Ask the broker")), answer);
}
