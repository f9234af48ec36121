// The shell: who is there, where we are, and the view of it. What a view shows is in the address, so that it can be linked.

import { h, put, icon, button, field, problem, attempt } from "./dom.js";
import { ask, get, post, stream } from "./api.js";

const VIEWS = [
  ["overview", "Overview"], ["live", "Live"], ["fates", "Fates"], ["flows", "Flows"], ["data", "Data"], ["deliveries", "Deliveries"], ["letters", "Dead letters"],
  ["interfaces", "Interfaces"], ["topics", "Topics"], ["broker", "Broker"], ["system", "System"],
];

/** Views that are reached by a link, not by the bar. */
const OTHERS = [["start", "First steps"]];

const app = document.getElementById("app");
const state = { session: null, stop: null, page: null };

theme(localStorage.getItem("theme") || "auto");

export function theme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  localStorage.setItem("theme", name);
}

/** `#/flows/AHT10?tab=test` → `{view, rest, query}` */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/").map(decodeURIComponent);
  return { view: view || "overview", rest, query: new URLSearchParams(query || "") };
}

export function link(view, rest = [], query = {}) {
  const path = [view, ...rest].map(encodeURIComponent).join("/");
  const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== undefined)).toString();
  return `#/${path}${text && "?" + text}`;
}

/** Changes what the address says of this view without leaving it. */
export function note(view, rest, query = {}) {
  history.replaceState(null, "", link(view, rest, query));
}

export function go(view, rest, query) {
  location.hash = link(view, rest, query);
}

async function start() {
  try {
    state.session = await get("session");
  } catch (error) {
    put(app, h("div.login", {}, h("div.stack", {}, problem(error), button("Try again", start, "main"))));
    return;
  }
  state.page = state.page || state.session.page;
  if (state.session.scope === "open") { login(); return; }
  await welcome();
  shell();
}

/** Whoever comes without an address, and has no flow that ever got a message, is shown the first steps. */
async function welcome() {
  if (location.hash || localStorage.getItem("start")) return;
  try {
    const { flows } = await get("flows");
    if (flows.every((flow) => !flow.last_msg_id && !flow.figures.last_at)) note("start", []);
  } catch { /* The view says what is wrong. */ }
}

function login() {
  stopView();
  document.title = "Log in · Hearthgate";
  const token = h("input", { type: "password", name: "token", autocomplete: "current-password", required: true });
  const failed = h("div", { role: "alert" });
  const send = h("button.button.main", { type: "submit" }, "Log in");
  const form = h("form.card.stack", {
    onsubmit: async (event) => {
      event.preventDefault();
      put(failed);
      send.disabled = true;
      try {
        state.session = await post("session", { token: token.value });
        await welcome();
        shell();
      } catch (error) {
        put(failed, problem(error));
        token.setAttribute("aria-invalid", "true");
        token.focus();
      } finally { send.disabled = false; }
    },
  }, h("img", { src: "page/icon.svg", alt: "" }), h("h1", {}, "Log in to Hearthgate"),
  field("Token", token, "The one that the gateway's configuration names: [http] token or token_file."), failed, send);
  put(app, h("main.login", {}, form));
  token.focus();
}

function shell() {
  const items = VIEWS.map(([name, text]) => h("li", {}, h("a", { href: link(name), "data-view": name }, icon(name), text)));
  const side = h("nav.side", { "aria-label": "Views" });
  const menu = h("button.button.plain.menu-button", {
    type: "button", "aria-expanded": "false", "aria-label": "Menu",
    onclick: () => menu.setAttribute("aria-expanded", String(side.classList.toggle("open"))),
  }, icon("menu"));
  side.append(
    h("div.top", {}, h("a.brand", { href: link("overview") }, h("img", { src: "page/icon.svg", alt: "" }), "Hearthgate"), menu),
    h("ul", {}, items),
    h("div.foot", {}, h("span", {}, `Version ${state.session.version}`),
      state.session.needs_token && button("Log out", async (event) => {
        await attempt(event.target, () => ask("DELETE", "session"));
        start();
      }, "small")),
  );
  const news = h("div.banner", { hidden: true, role: "status" }, h("span", {}, "The gateway was updated; this page is of the version before."),
    button("Load the new page", () => location.reload(), "small"));
  const main = h("main", { id: "main", tabindex: "-1" });
  put(app, h("div.shell", {}, side, main));
  state.frame = { side, main, news, menu };
  show();
}

function stopView() {
  state.stop?.();
  state.stop = null;
}

async function show() {
  if (!state.frame || !state.session || state.session.scope === "open") return;
  stopView();
  const { side, main, news, menu } = state.frame;
  const at = place();
  const known = [...VIEWS, ...OTHERS].find(([name]) => name === at.view);
  side.classList.remove("open");
  menu.setAttribute("aria-expanded", "false");
  for (const anchor of side.querySelectorAll("a[data-view]")) {
    if (anchor.dataset.view === at.view) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  const title = known ? known[1] : "Not found";
  document.title = `${title} · Hearthgate`;
  const heading = h("h1", {}, title), actions = h("div.row", {}), body = h("div.stack", {});
  put(main, news, h("div.head", {}, heading, actions), body);
  if (!known) {
    put(body, h("div.note.wait", {}, "There is no such view. Choose one at the side."));
    return;
  }
  const frame = {
    ...at, body, actions,
    title: (text) => { heading.textContent = text; document.title = `${text} · Hearthgate`; },
    may: (scope) => RANK[state.session.scope] >= RANK[scope],
    session: state.session,
  };
  const token = {};
  state.showing = token;
  try {
    const { view } = await import(`./${at.view}.js`);
    const stop = await view(frame);
    if (state.showing === token) state.stop = stop; else stop?.();
  } catch (error) {
    if (state.showing === token) put(body, problem(error));
  }
}

const RANK = { open: 0, read: 1, operate: 2, admin: 3 };

window.addEventListener("hashchange", () => {
  show().then(() => document.getElementById("main")?.focus());
});
window.addEventListener("hearthgate:login", () => {
  if (state.session?.scope !== "open") {
    state.session = { ...state.session, scope: "open" };
    login();
  }
});
window.addEventListener("hearthgate:hello", ({ detail }) => {
  if (state.frame) state.frame.news.hidden = detail.page === state.page;
});

start();
