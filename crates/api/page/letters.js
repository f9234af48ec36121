// Dead letters in groups that failed alike: look at them, try them out, replay them, let them go.

import { h, put, chip, button, table, empty, problem, confirm, dialog, attempt, when, date, time, compact, bytes, pretty, hexdump } from "./dom.js";
import { get, post } from "./api.js";
import { link, note } from "./main.js";

export async function view(frame) {
  const all = await get("dead-letters/groups");
  const flow = frame.query.get("flow");
  const groups = flow ? all.groups.filter((group) => group.flow === flow) : all.groups;
  const again = () => view(frame);
  put(frame.actions, flow && h("a.button", { href: link("letters") }, "Of all flows"), button("Read again", again));
  const undo = all.dropped > 0 && h("div.note.wait", { role: "status" }, h("div.row", {}, h("span.grow", {}, `${compact(all.dropped)} ${all.dropped === 1 ? "letter was" : "letters were"} dropped, and ${all.dropped === 1 ? "is" : "are"} gone for good at `, h("strong", {}, time(all.undo_until)), "."),
    frame.may("admin") && button("Bring back", async (event) => {
      if (await attempt(event.currentTarget, () => post("dead-letters/undo"), (done) => `${compact(done.restored)} brought back`)) again();
    }, "small")));
  if (!groups.length) {
    put(frame.body, undo, empty("letters", flow ? `There are no dead letters of ${flow}.` : "There are no dead letters: everything that came in could be served."));
    return undefined;
  }
  put(frame.body, undo,
    h("p.muted", {}, `${compact(all.letters)} ${all.letters === 1 ? "letter" : "letters"}, ${bytes(all.bytes)}, in ${groups.length} ${groups.length === 1 ? "group" : "groups"}.`, all.evicted ? ` ${compact(all.evicted)} had to go to make room.` : ""),
    groups.map((group) => card(frame, group, again)));
  return undefined;
}

function card(frame, group, again) {
  const choice = { group: group.key, again: group.replayed === group.count };
  const open = frame.query.get("group") === group.key;
  const answer = h("div.stack", { role: "status" }), letters = h("div.stack");
  const many = `${compact(group.count)} ${group.count === 1 ? "letter" : "letters"}`;
  const run = async (isDry, presser) => {
    const done = await attempt(presser, () => post("dead-letters/replay", choice, { dry_run: isDry }));
    if (!done) return;
    put(answer, outcome(done), !isDry && h("div.row", {}, button("Read the letters again", again, "small")));
  };
  const replay = async (event) => {
    const button = event.currentTarget;
    const dry = await attempt(button, () => post("dead-letters/replay", choice, { dry_run: true }));
    if (dry && (await agree(many, dry))) run(false, button);
  };
  const drop = async (event) => {
    const button = event.currentTarget;
    if (!(await confirm(`Drop ${many}?`, "For ten minutes they can be brought back; then their messages are lost for good.", "Drop them"))) return;
    if (await attempt(button, () => post("dead-letters/drop", choice), (done) => `${compact(done.dropped)} dropped`)) again();
  };
  const more = async (before) => {
    const page = await attempt(null, () => get("dead-letters", { group: group.key, limit: 25, before }));
    if (!page) return;
    letters.querySelector(".more")?.remove();
    letters.append(table([
      ["Letter", (letter) => button(`№ ${letter.id}`, () => show(letter.id, frame, again), "small")],
      ["Topic", (letter) => letter.topic],
      ["Given up", (letter) => when(letter.dead_at)],
      ["Payload", (letter) => h("code.wrap", {}, (letter.text ?? `${letter.hex.slice(0, 48)} (hex)`).slice(0, 120))],
      ["Replayed", (letter) => (letter.replayed_at ? when(letter.replayed_at) : "")],
    ], page.letters, "Letters of this group, the newest first"));
    if (page.next) letters.append(h("div.more", {}, button("Older ones", () => more(page.next), "small")));
  };
  const toggle = button(open ? "Hide the letters" : "Show the letters", () => {
    const isOpen = letters.childElementCount > 0;
    if (isOpen) put(letters); else more();
    toggle.textContent = isOpen ? "Show the letters" : "Hide the letters";
    toggle.setAttribute("aria-expanded", String(!isOpen));
    note("letters", [], { flow: frame.query.get("flow") || "", group: isOpen ? "" : group.key });
  }, "small", { "aria-expanded": String(open) });
  if (open) more();
  return h("article.card.stack", { "aria-label": `Group of ${many}` },
    h("div.title", {}, h("h2", {}, group.flow || "Refused for every flow"), chip("bad", many), group.replayed > 0 && chip("", `${compact(group.replayed)} replayed`)),
    h("p.wrap", {}, group.pointer && [h("code", {}, group.pointer), " "], group.reason),
    h("p.small.muted", {}, "Last ", when(group.last_at), group.count > 1 && [", first ", when(group.first_at)], "."),
    h("div.row", {}, toggle, frame.may("operate") && [button("Try a replay out", (event) => run(true, event.currentTarget), "small"), button("Replay", replay, "small")],
      group.flow && !group.flow.startsWith("(") && h("a.button.small", { href: link("flows", [group.flow]) }, "Open the flow"), frame.may("admin") && button("Drop", drop, "small danger")),
    answer, letters);
}

/** What a replay would do, before it does. */
function agree(many, dry) {
  return dialog(`Replay ${many}?`, (close) => [
    h("p", {}, "Their messages go through the flow as it is now. What fails again stays here."), outcome(dry),
    h("div.row.end", {}, button("Cancel", () => close(false)), button("Replay", () => close(true), dry.taken ? "main" : "danger")),
  ]);
}

function outcome(done) {
  const dry = done.dry_run;
  const text = `${compact(done.taken)} ${dry ? "would be taken" : "taken"}, ${compact(done.refused)} ${dry ? "would be refused" : "refused"}.`;
  const refused = done.letters.filter((letter) => !letter.taken);
  return h(`div.note.${done.refused ? (done.taken ? "wait" : "bad") : "ok"}`, {}, h("strong", {}, dry ? "Tried out, nothing was done: " : "Replayed: "), text,
    refused.length > 0 && h("ul", {}, refused.slice(0, 5).map((letter) => h("li", {}, `№ ${letter.id}: ${letter.reason}`)), refused.length > 5 && h("li", {}, "…")));
}

async function show(id, frame, again) {
  const letter = await attempt(null, () => get(`dead-letters/${id}`));
  if (!letter) return;
  const payload = h("pre", { tabindex: "0", "aria-label": "Payload" });
  const tabs = [["Text", () => (letter.text === null ? "This is no text; look at it in hex." : pretty(letter.text))], ["As sent", () => letter.text ?? "This is no text; look at it in hex."], ["Hex", () => hexdump(letter.hex)]];
  const buttons = tabs.map(([name, content], index) => button(name, () => choose(index), "small"));
  const choose = (chosen) => {
    payload.textContent = tabs[chosen][1]();
    buttons.forEach((one, index) => one.setAttribute("aria-pressed", String(index === chosen)));
  };
  choose(letter.text === null ? 2 : 0);
  await dialog(`Dead letter № ${letter.id}`, (close) => [
    h("div.note.bad", {}, letter.pointer && [h("code", {}, letter.pointer), " "], letter.reason),
    h("p.small", {}, h("strong", {}, "Topic "), h("code.wrap", {}, letter.topic), h("br"), h("strong", {}, "Flow "), letter.flow || "every flow", letter.part ? `, ${letter.part}` : "", h("br"),
      h("strong", {}, "Came in "), date(letter.received_at), h("br"), h("strong", {}, "Given up "), date(letter.dead_at), letter.attempts ? ` after ${letter.attempts} attempts` : "",
      letter.replayed_at && [h("br"), h("strong", {}, "Replayed "), date(letter.replayed_at)]),
    h("div.row", {}, h("div.tabs", { role: "group", "aria-label": "Show the payload as" }, buttons), h("span.small.muted", {}, bytes(letter.bytes), letter.hex.length / 2 < letter.bytes ? ", the beginning is shown" : "")),
    payload,
    h("div.row.end", {}, letter.text && letter.flow && h("a.button", { href: link("flows", [letter.flow], { payload: letter.text.slice(0, 4000) }), onclick: () => close() }, "Test in its flow"),
      frame.may("operate") && button("Replay this one", async (event) => {
        const done = await attempt(event.currentTarget, () => post("dead-letters/replay", { ids: [letter.id], again: true }), (answer) => (answer.taken ? "Taken" : answer.letters[0]?.reason || "Refused"));
        if (done) { close(); again(); }
      }), button("Close", () => close(), "main")),
  ]);
}
