// Asks the server. Every failure becomes one error with the server's own words.

/** An answer that is none. `status` is 0 when the consumer does not answer at all. */
export class Refused extends Error {
  constructor(status, error, detail) {
    super(detail);
    this.status = status;
    this.error = error;
  }
}

const GONE = "The consumer does not answer. See whether it runs, and its log says why if it ended.";
let unauthorized = () => {};

/** Have `callback` called whenever a key is asked for. */
export function onUnauthorized(callback) {
  unauthorized = callback;
}

/** Parameters of an address. What is empty is left out, but for a device: "" is the node itself. */
export function query(parameters) {
  const given = Object.entries(parameters || {}).filter(([key, v]) => v !== undefined && v !== null && (v !== "" || key === "device"));
  return new URLSearchParams(given).toString();
}

async function answerTo(path, options) {
  try {
    return await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "gone", GONE);
  }
}

async function refusal(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // Not of this server: a proxy between says it in words of its own.
  }
  const words = body.detail || `The server answered ${response.status} and said no more.`;
  return new Refused(response.status, body.error || "failure", words);
}

/** Read the route `path`. */
export async function ask(path, parameters, signal) {
  const text = query(parameters);
  const response = await answerTo(text ? `${path}?${text}` : path, { signal });
  if (!response.ok) {
    const error = await refusal(response);
    if (error.status === 401 && path !== "/api/session") unauthorized();
    throw error;
  }
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "gone", GONE);
  }
}

/** Change something: `POST` or `DELETE` with a JSON body. */
export async function tell(path, body, method = "POST") {
  const response = await answerTo(path, {
    method,
    headers: { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) {
    const error = await refusal(response);
    if (error.status === 401 && path !== "/api/session") unauthorized();
    throw error;
  }
  return response.status === 204 ? null : response.json();
}

/** Why `path` is refused, null if it is not. Reads nothing of the answer. */
export async function whyRefused(path) {
  const stop = new AbortController();
  try {
    const response = await answerTo(path, { signal: stop.signal });
    return response.ok ? null : await refusal(response);
  } catch (error) {
    return error;
  } finally {
    stop.abort();
  }
}
