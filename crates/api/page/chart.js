// A curve of windows: the mean as a line, least and greatest as a band around it.

import { s, number, date } from "./dom.js";

const  LEFT = 58, RIGHT = 14, TOP = 12, BOTTOM = 28;

export function chart(series, label, width) {
  const WIDTH = Math.max(280, Math.min(1400, width)), HEIGHT = WIDTH < 500 ? 220 : 290, labels = WIDTH < 500 ? 3 : 6;
  const points = series.points.filter((point) => point.mean !== null);
  const from = +new Date(series.from), to = +new Date(series.to);
  let low = Math.min(...points.map((point) => point.min)), high = Math.max(...points.map((point) => point.max));
  if (low === high) { low -= 1; high += 1; }
  const ticks = scale(low, high);
  low = Math.min(low, ticks[0]); high = Math.max(high, ticks[ticks.length - 1]);
  const x = (at) => LEFT + ((+new Date(at) - from) / (to - from)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const shift = (series.window * 500 / (to - from)) * (WIDTH - LEFT - RIGHT);
  const at = (point) => Math.min(WIDTH - RIGHT, x(point.at) + shift);
  // Where windows are empty the line is broken.
  const pieces = [];
  points.forEach((point, index) => {
    const before = points[index - 1];
    const gap = before ? (+new Date(point.at) - +new Date(before.at)) / 1000 / series.window : Infinity;
    if (gap > 12) pieces.push([]);
    pieces[pieces.length - 1].push(point);
  });
  const format = timeFormat(to - from);
  const times = Array.from({ length: labels }, (_, index) => from + ((to - from) * index) / (labels - 1));
  const mean = points.reduce((sum, point) => sum + point.mean * point.count, 0) / points.reduce((sum, point) => sum + point.count, 0);
  const cursor = s("line.cursor", { y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const read = s("text", { y: TOP + 8, "text-anchor": "end", x: WIDTH - RIGHT });
  const picture = s("svg.chart", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${label}: ${number(Math.min(...points.map((point) => point.min)))} to ${number(Math.max(...points.map((point) => point.max)))}, ${number(mean)} on average, from ${date(from)} to ${date(to)}` },
    ticks.map((tick) => [s("line.grid", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }), s("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, number(tick))]),
    times.map((time, index) => s("text", { x: x(time), y: HEIGHT - 8, "text-anchor": index === 0 ? "start" : index === labels - 1 ? "end" : "middle" }, format.format(time))),
    pieces.map((piece) => piece.length === 1
      ? s("circle.dot", { cx: at(piece[0]), cy: y(piece[0].mean), r: 3 })
      : [s("path.band", { d: `M${piece.map((point) => `${at(point)},${y(point.max)}`).join("L")}L${[...piece].reverse().map((point) => `${at(point)},${y(point.min)}`).join("L")}Z` }),
        s("path.line", { d: `M${piece.map((point) => `${at(point)},${y(point.mean)}`).join("L")}` })]),
    cursor, read);
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect(), place = ((event.clientX - box.left) / box.width) * WIDTH;
    const near = points.reduce((best, point) => (Math.abs(at(point) - place) < Math.abs(at(best) - place) ? point : best), points[0]);
    cursor.setAttribute("x1", at(near)); cursor.setAttribute("x2", at(near)); cursor.setAttribute("visibility", "visible");
    read.textContent = `${date(near.at)}: ${number(near.mean)}${near.count > 1 ? ` (${number(near.min)} – ${number(near.max)})` : ""}`;
  });
  picture.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); read.textContent = ""; });
  return picture;
}

/** Round numbers that span the values. */
function scale(low, high) {
  const raw = (high - low) / 4, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw);
  const ticks = [];
  for (let tick = Math.floor(low / step) * step; tick <= high + step * 0.999; tick += step) ticks.push(Number(tick.toPrecision(12)));
  return ticks;
}

function timeFormat(span) {
  if (span <= 2 * 86400000) return new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  if (span <= 60 * 86400000) return new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
  return new Intl.DateTimeFormat(undefined, { month: "short", year: "numeric" });
}
