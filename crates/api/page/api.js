// Asks the API, always below the address that this page was loaded from: a proxy may serve it under any prefix.

const base = new URL("api/v1/", document.baseURI);

/** What the API said no with (RFC 9457). */
export class Problem extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.status = status;
    this.code = problem.code || "";
  }
}

export function address(path, query = {}) {
  const url = new URL(path, base);
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(key, value);
  }
  return url;
}

export async function ask(method, path, { body, query, version } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (version) headers["If-Match"] = `"${version}"`;
  let answer;
  try {
    answer = await fetch(address(path, query), { method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin" });
  } catch {
    throw new Problem(0, { detail: "The gateway does not answer. Does it run, and is the network there? The page tries again.", code: "offline" });
  }
  if (answer.status === 204) return null;
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    if (answer.status === 401) window.dispatchEvent(new Event("hearthgate:login"));
    throw new Problem(answer.status, content);
  }
  return content;
}

export const get = (path, query) => ask("GET", path, { query });
export const post = (path, body, query) => ask("POST", path, { body, query });
/** A segment of a path. */
export const segment = (text) => encodeURIComponent(text);

/** The stream of events; answers what closes it. It comes back by itself when the connection breaks. */
export function stream(query, handlers) {
  let source, timer, isOver = false;
  const open = () => {
    source = new EventSource(address("events", query));
    for (const [name, handler] of Object.entries(handlers)) {
      if (name !== "state") source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
    }
    source.addEventListener("hello", (event) => {
      handlers.state?.(true);
      window.dispatchEvent(new CustomEvent("hearthgate:hello", { detail: JSON.parse(event.data) }));
    });
    source.onerror = () => {
      handlers.state?.(false);
      if (source.readyState === EventSource.CLOSED && !isOver) {
        // Refused, not broken: whether we are still logged in shows when we ask.
        get("session").then((state) => {
          if (state.scope === "open") window.dispatchEvent(new Event("hearthgate:login"));
        }).catch(() => {});
        timer = setTimeout(open, 4000);
      }
    };
  };
  open();
  return () => { isOver = true; clearTimeout(timer); source.close(); };
}
