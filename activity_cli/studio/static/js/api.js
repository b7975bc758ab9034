/** What the server is asked, and what it tells by itself. */

export class ApiError extends Error {
  constructor(status, body) {
    super(body.error || `The server answered ${status}.`);
    this.status = status;
    this.hint = body.hint ?? "";
    this.clip = body.clip;
  }
}

/** The server does not answer: it was stopped, or killed. */
export class Unreachable extends Error {}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    dispatchEvent(new CustomEvent("unreachable"));
    throw new Unreachable("Studio does not answer.");
  }
  const isJson = response.headers.get("content-type")?.includes("json");
  const body = isJson ? await response.json() : {};
  if (!response.ok) throw new ApiError(response.status, body);
  return body;
}

export const get = (path, query = {}) => {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return ask(given.length ? `${path}?${new URLSearchParams(given)}` : path);
};

export const post = (path, body = {}) => ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
export const remove = (path) => ask(path, { method: "DELETE" });

/** Address of `count` frames side by side, each at the middle of its part of the stretch. */
export function thumbUrl(clip, { start, end, count = 1, height = 90 } = {}) {
  const query = new URLSearchParams({ count, height });
  if (start !== undefined && start !== null) query.set("start", start.toFixed(3));
  if (end !== undefined && end !== null) query.set("end", end.toFixed(3));
  return `/thumbs/${clip.id}?${query}`;
}

/** Send a file; `progress` is told a share of 0 to 1. */
export function upload(file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/upload?${new URLSearchParams({ name: file.name })}`);
    request.upload.addEventListener("progress", (event) => event.lengthComputable && progress(event.loaded / event.total));
    request.addEventListener("load", () => {
      let body = {};
      try { body = JSON.parse(request.responseText); } catch { /* not JSON: the status says enough */ }
      if (request.status < 300) resolve(body);
      else reject(new ApiError(request.status, body));
    });
    request.addEventListener("error", () => reject(new Unreachable("The upload broke off.")));
    request.send(file);
  });
}

/** Hear the server's events: {name: function(data)}. Returns a function that ends it. */
export function hear(listeners) {
  const source = new EventSource("/api/events");
  for (const [name, run] of Object.entries(listeners)) source.addEventListener(name, (event) => run(JSON.parse(event.data)));
  source.addEventListener("error", () => dispatchEvent(new CustomEvent("unreachable")));
  return () => source.close();
}
