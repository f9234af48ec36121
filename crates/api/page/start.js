// The way of a newcomer: is the broker there, is the database there, what passes, and the first flow for it.

import { h, put, chip, button, field, table, problem, toast, pretty, compact, number } from "./dom.js";
import { get, post, segment } from "./api.js";
import { go, link } from "./main.js";

const SECONDS = 15;

export async function view(frame) {
  frame.title("First steps");
  const checks = h("div.cards"), chosen = h("section.card.stack", { "aria-label": "The flow", hidden: true }), done = h("section.card.stack", { "aria-label": "What it stored", hidden: true });
  put(frame.actions, button("Skip this", () => { localStorage.setItem("start", "done"); go("overview"); }));
  put(frame.body, h("p.muted", {}, "Three steps to the first stored message. You can come back to this page by its address."), checks, listening(frame, chosen, done), chosen, done);
  const draw = async () => put(checks, await states());
  await draw();
  const timer = setInterval(() => { if (!document.hidden && !checks.contains(document.activeElement)) draw().catch(() => {}); }, 3000);
  return () => clearInterval(timer);
}

/** Broker and database, each with what to do about it. */
async function states() {
  const { nodes } = await get("overview");
  const of = (kind) => nodes.find((node) => node.kind === kind);
  const broker = of("broker"), session = of("session"), database = of("database");
  const listens = broker?.detail.startsWith("embedded, ") ? broker.detail.slice("embedded, ".length) : null;
  const isLocal = listens && /(^|, )(127\.|\[::1\])/.test(listens);
  const bad = [broker, session].find((node) => node && node.state !== "ok");
  return [
    h("section.card.stack", { "aria-label": "Broker" }, h("div.title", {}, h("h2", {}, "1. Broker"), chip(broker && !bad ? "ok" : "wait", broker && !bad ? "works" : "waits")),
      !broker ? h("p", {}, "No broker is configured: switch on [broker] or name one in [mqtt] server.") : bad ? h("p.wrap", {}, `${bad.reason || "It is not there yet"}. `, bad.advice)
        : listens ? [h("p", {}, "The gateway is the broker. Let your devices publish to ", h("code", {}, listens), "."), isLocal && h("div.note.wait", {}, "That address is this machine's own. For devices elsewhere set [broker] listen = \"0.0.0.0:1883\" and give them users under [broker.users].")]
          : h("p", {}, "Connected to ", h("code.wrap", {}, broker.detail), ".")),
    h("section.card.stack", { "aria-label": "Database" }, h("div.title", {}, h("h2", {}, "2. Database"), chip(database?.state === "ok" ? "ok" : "wait", database?.state === "ok" ? "works" : "waits")),
      database?.state === "ok" ? h("p", {}, "Messages will be stored in ", h("code.wrap", {}, database.detail), ".") : h("p.wrap", {}, database ? `${database.reason || "It is not there yet"}. ${database.advice || ""}` : "Flows are switched off: set [flows] enabled = true.")),
  ];
}

function listening(frame, chosen, done) {
  const topic = h("input", { value: "#", required: true, spellcheck: "false", autocapitalize: "off" });
  const found = h("div.stack", { role: "status" });
  const listen = h("button.button.main", { type: "submit" }, "Listen");
  const run = async (event) => {
    event.preventDefault();
    listen.disabled = true;
    chosen.hidden = done.hidden = true;
    let left = SECONDS;
    const tell = () => put(found, h("p", {}, `Listening for ${number(left)} more ${left === 1 ? "second" : "seconds"}; let a device publish now.`));
    tell();
    const timer = setInterval(() => { left = Math.max(0, left - 1); tell(); }, 1000);
    try {
      const answer = await post("flows/learn", { topic: topic.value.trim(), seconds: SECONDS, messages: 500 });
      clearInterval(timer);
      put(found, proposals(answer, (one) => form(frame, one, chosen, done)));
    } catch (error) { clearInterval(timer); put(found, problem(error)); } finally { listen.disabled = false; }
  };
  return h("form.card.stack", { "aria-label": "Traffic", onsubmit: run }, h("h2", {}, "3. First flow"),
    frame.may("operate") ? [h("p.small.muted", {}, "The gateway listens to what passes and proposes a flow for each kind of message. Nothing is stored meanwhile."),
      field("What to listen to", topic, "# is everything; home/# is what begins with home/."), h("div.row", {}, listen, h("a.button", { href: link("flows", ["new"]) }, "Write one by hand"))] : h("p", {}, "Making a flow needs the right \"admin\"."), found);
}

function proposals(answer, choose) {
  const own = (one) => one.flow.topic.startsWith("hearthgate/") || one.flow.topic.startsWith("$");
  const shown = answer.proposals.filter((one) => !own(one));
  if (!shown.length) {
    return h("div.note.wait", {}, answer.unusable ? `${compact(answer.unusable)} messages came, but none that a flow could take: they were empty, no text, or lists. ` : "Nothing came by. ",
      "Does the device publish to this broker, with the right user? Try it from a shell: ", h("code.wrap", {}, "mosquitto_pub -t home/kitchen/climate -m '{\"temperature\": 21.5}'"));
  }
  return [h("p", {}, `${compact(answer.messages)} ${answer.messages === 1 ? "message" : "messages"} came by. Choose what to store:`), table([
    ["Topic", (one) => h("code.wrap", {}, one.flow.topic), "topic"],
    ["Fields", (one) => h("code.wrap", {}, fields(one.flow.schema))],
    ["Messages", (one) => compact(one.messages), "number"],
    ["", (one) => button("Use this", () => choose(one), "small main", { "aria-label": `Use ${one.flow.topic}` }), "actions"],
  ], shown.slice(0, 20), "Proposed flows")];
}

const fields = (schema) => Object.entries(schema?.properties || schema || {}).slice(0, 8).map(([key, value]) => `${key}: ${typeof value === "string" ? value : value.type || "…"}`).join(", ");

/** The proposal, to be named and saved. */
function form(frame, one, chosen, done) {
  const code = h("input", { value: one.flow.code, required: true, maxlength: 100, spellcheck: "false", autocapitalize: "off" });
  const failed = h("div");
  const save = async (event) => {
    event.preventDefault();
    put(failed);
    try {
      const saved = await post("flows", { ...one.flow, code: code.value.trim() });
      toast(`${saved.code} is saved and in force`);
      wait(saved.code, done);
    } catch (error) { put(failed, problem(error)); }
  };
  chosen.hidden = false;
  put(chosen, h("h2", {}, "Save the flow"), h("form.stack", { onsubmit: save }, h("p", {}, "It takes ", h("code.wrap", {}, one.flow.topic), " and stores each field with its time."),
    h("pre", { tabindex: "0", "aria-label": "Schema" }, JSON.stringify(one.flow.schema, null, 2)),
    one.left_open.length > 0 && h("div.note", {}, "Left open: ", one.left_open.join("; ")),
    field("Name of the flow", code, "Rows carry it."), failed, h("div.row", {}, h("button.button.main", { type: "submit" }, "Save it"),
      h("a.button", { href: link("flows", ["new"], { topic: one.flow.topic }) }, "Change more"))));
  code.focus();
}

/** Until something is stored. */
function wait(code, done) {
  done.hidden = false;
  put(done, h("h2", {}, "Waiting for the first message"), h("p", { role: "status" }, "The flow is in force. As soon as the device publishes again, the values show here."));
  const look = async () => {
    if (!done.isConnected) return;
    try {
      const { attributes } = await get(`data/${segment(code)}`);
      if (attributes.length) {
        localStorage.setItem("start", "done");
        put(done, h("h2", { tabindex: "-1" }, "It works"), h("p", { role: "status" }, `${code} has stored its first message:`),
          table([["Field", (one) => h("strong", {}, one.name)], ["Value", (one) => h("code.wrap", {}, pretty(one.value))]], attributes, "First values"),
          h("div.row", {}, h("a.button.main", { href: link("data", [code]) }, "See the data"), h("a.button", { href: link("overview") }, "Overview")));
        done.querySelector("h2").focus();
        return;
      }
    } catch { /* The next time tells. */ }
    setTimeout(look, 1000);
  };
  look();
}
