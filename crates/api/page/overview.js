// The wiring as it runs: a picture, and the same as a list.

import { h, s, put, chip, button, table, problem, attempt, rate, compact, spark } from "./dom.js";
import { post, segment, stream } from "./api.js";
import { link } from "./main.js";

const STATES = { ok: ["ok", "works"], waiting: ["wait", "waits"], failed: ["bad", "failed"], off: ["", "off"] };
const COLUMN = { broker: 0, session: 1, mapper: 2, router: 2, interface: 3, journal: 3, database: 4, endpoints: 4, letters: 4 };
const WINDOW = 6, HISTORY = 60;

export function view(frame) {
  const tiles = h("div.tiles"), picture = h("section.card", { "aria-label": "Wiring" }), list = h("section.card", { "aria-label": "Parts" });
  const broken = h("div");
  put(frame.body, broken, tiles, picture, list);
  const seen = [];
  const history = { in: [], stored: [] };
  let last = "";

  const draw = (graph) => {
    if (graph.error) { put(broken, problem(new Error(graph.error))); return; }
    seen.push(graph);
    if (seen.length > WINDOW) seen.shift();
    const first = seen[0], seconds = (new Date(graph.at) - new Date(first.at)) / 1000;
    const before = new Map(first.edges.map((edge) => [`${edge.from}→${edge.to}`, edge.total]));
    const edges = graph.edges.map((edge) => ({
      ...edge, rate: seconds > 0 ? Math.max(0, edge.total - (before.get(`${edge.from}→${edge.to}`) ?? edge.total)) / seconds : 0,
    }));
    const sum = (test) => edges.filter(test).reduce((all, edge) => all + edge.rate, 0);
    const incoming = sum((edge) => edge.to === "session"), stored = sum((edge) => edge.to === "database");
    keep(history.in, incoming); keep(history.stored, stored);
    const waiting = edges.reduce((all, edge) => all + (edge.waiting || 0), 0);
    const failed = graph.nodes.filter((node) => node.state === "failed").length;
    const letters = graph.nodes.find((node) => node.kind === "letters");
    put(tiles,
      tile(link("live"), "Messages in", rate(incoming), "/s", spark(history.in)),
      tile(link("data"), "Stored", rate(stored), "/s", spark(history.stored)),
      tile(link("flows"), "Waiting in the journal", compact(waiting), waiting === 1 ? " message" : " messages"),
      tile(link("letters"), "Dead letters", letters ? compact(parseInt(letters.detail, 10) || 0) : "–", ""),
      tile(link("overview"), "Parts that failed", String(failed), failed ? " need you" : " of " + graph.nodes.length));
    const key = JSON.stringify([graph.nodes, edges.map((edge) => [rate(edge.rate), edge.waiting]), picture.clientWidth < 700]);
    if (key === last) return;
    last = key;
    const focused = document.activeElement?.getAttribute?.("data-part");
    put(picture, wiring(graph.nodes, edges, picture.clientWidth < 700));
    put(list, parts(graph.nodes, edges, frame));
    if (focused) frame.body.querySelector(`[data-part="${CSS.escape(focused)}"]`)?.focus();
  };
  return stream({ watch: "overview" }, {
    overview: draw,
    state: (isThere) => put(broken, isThere ? null : h("div.note.wait", { role: "status" }, "The gateway does not answer; what you see is how it was. The page tries again.")),
  });
}

function keep(list, value) {
  list.push(value);
  if (list.length > HISTORY) list.shift();
}

function tile(href, name, value, unit, picture) {
  return h("a.tile", { href }, h("span.small.muted", {}, name), h("span.value", {}, value, h("small", {}, unit)), picture);
}

const WIDTH = 178, HEIGHT = 66;

/** Boxes in columns from the left to the right, or in rows from above where the screen is narrow. */
function wiring(nodes, edges, isNarrow) {
  const levels = [[], [], [], [], []];
  for (const node of nodes) levels[COLUMN[node.kind] ?? 4].push(node);
  const used = levels.filter((level) => level.length);
  const at = new Map();
  let width, height;
  if (isNarrow) {
    width = 2 * WIDTH + 24;
    let y = 4;
    for (const level of used) {
      for (let index = 0; index < level.length; index += 2) {
        const pair = level.slice(index, index + 2);
        pair.forEach((node, place) => at.set(node.id, [pair.length === 1 ? (width - WIDTH) / 2 : place * (WIDTH + 20) + 2, y]));
        y += HEIGHT + (index + 2 < level.length && pair.length === 2 && level.length - index > 3 ? 16 : 46);
      }
    }
    height = y - 40;
  } else {
    const gap = 92, tallest = Math.max(...used.map((level) => level.length));
    height = tallest * (HEIGHT + 26) + 8;
    width = used.length * (WIDTH + gap) - gap + 8;
    used.forEach((level, column) => {
      const free = height - level.length * (HEIGHT + 26) + 26;
      level.forEach((node, row) => at.set(node.id, [4 + column * (WIDTH + gap), free / 2 + row * (HEIGHT + 26)]));
    });
  }
  const drawn = edges.filter((edge) => at.has(edge.from) && at.has(edge.to)).map((edge) => drawEdge(edge, at, isNarrow));
  return s("svg.graph", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "What goes where; the list below says the same" },
    drawn.map(([line]) => line), nodes.map((node) => drawNode(node, at.get(node.id))), drawn.map(([, text]) => text));
}

function drawEdge(edge, at, isNarrow) {
  const [x1, y1] = at.get(edge.from), [x2, y2] = at.get(edge.to);
  const isBack = isNarrow ? y2 < y1 : x2 < x1;
  let path, tx, ty;
  if (isNarrow) {
    const shift = isBack ? 26 : -8;
    const a = [x1 + WIDTH / 2 + shift, isBack ? y1 : y1 + HEIGHT], b = [x2 + WIDTH / 2 + shift, isBack ? y2 + HEIGHT : y2];
    const middle = (a[1] + b[1]) / 2;
    path = `M${a} C${a[0]},${middle} ${b[0]},${middle} ${b}`;
    [tx, ty] = [(a[0] * 0.3 + b[0] * 0.7), a[1] * 0.35 + b[1] * 0.65 + 4];
  } else {
    const shift = isBack ? 18 : -4;
    const a = [isBack ? x1 : x1 + WIDTH, y1 + HEIGHT / 2 + shift], b = [isBack ? x2 + WIDTH : x2, y2 + HEIGHT / 2 + shift];
    const middle = (a[0] + b[0]) / 2;
    path = `M${a} C${middle},${a[1]} ${middle},${b[1]} ${b}`;
    [tx, ty] = [middle, (a[1] + b[1]) / 2 + (isBack ? 15 : -7)];
  }
  const kind = edge.waiting > 0 && edge.rate === 0 ? "stuck" : edge.rate > 0 ? "live" : "";
  const text = edge.waiting > 0 ? `${compact(edge.waiting)} wait` : edge.rate > 0 ? `${rate(edge.rate)}/s` : "";
  const line = s(`path.edge${kind && "." + kind}`, { d: path, "stroke-width": edge.rate > 0 ? 2 + Math.min(3, Math.log10(1 + edge.rate)) : 2 });
  return [line, text && s(`text.rate${edge.waiting > 0 ? ".stuck" : ""}`, { x: tx, y: ty }, text)];
}

function drawNode(node, [x, y]) {
  const [, word] = STATES[node.state];
  const sign = { ok: "✓", waiting: "…", failed: "✕", off: "–" }[node.state];
  return s("a", { href: link("overview", [], { part: node.id }), "data-part": node.id },
    s(`g.node.${node.state}`, { transform: `translate(${x} ${y})` },
      s("rect", { width: WIDTH, height: HEIGHT }),
      s("text.name", { x: 13, y: 23 }, cut(node.label, 19)), s("text.sub", { x: 13, y: 40 }, cut(node.detail, 23)),
      s("text.state", { x: 13, y: 56 }, `${sign} ${cut(node.state === "ok" ? word : node.reason || word, 20)}`)));
}

const cut = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);

function parts(nodes, edges, frame) {
  const wanted = frame.query.get("part");
  const inward = (node) => edges.filter((edge) => edge.to === node.id);
  const order = { failed: 0, waiting: 1, ok: 2, off: 3 };
  const sorted = [...nodes].sort((a, b) => order[a.state] - order[b.state]);
  return [h("h2", {}, "Parts"), table([
    ["Part", (node) => [h("strong", {}, node.label), h("div.small.muted.wrap", {}, node.detail)]],
    ["State", (node) => chip(...STATES[node.state])],
    ["Why, and what to do", (node) => [node.reason && h("div.wrap", {}, node.reason), node.advice && h("div.small.muted.wrap", {}, node.advice)]],
    ["Comes in", (node) => {
      const sum = inward(node).reduce((all, edge) => all + edge.rate, 0);
      return inward(node).length ? `${rate(sum)}/s` : "";
    }, "number"],
    ["", (node) => node.actor && frame.may("operate") && button(node.state === "off" ? "Start" : "Restart", (event) => {
      const order = node.state === "off" ? "start" : "restart";
      attempt(event.target, () => post(`actors/${segment(node.actor)}/${order}`), `${node.label}: ${order} done`);
    }, "small", { "aria-label": `${node.state === "off" ? "Start" : "Restart"} ${node.label}` }), "actions"],
  ], sorted, "Parts of the gateway with their state", (node) => node.id === wanted)];
}
