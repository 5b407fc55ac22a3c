// Requests to this server, and nothing else: no other address stands in any file of the page.

/** What the server refused. status 0: it could not be reached. retryAfter: seconds, or null. */
export class Refusal extends Error {
  constructor(message, status, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** The response of a request. key: may be empty. Throws Refusal, or AbortError when it was stopped. */
export async function ask(path, key, { body, signal } = {}) {
  const headers = {};
  if (key) headers["Authorization"] = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
      credentials: "omit",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    // A header that fetch does not take, or no connection.
    const isKey = [...key].some((letter) => letter < "!" || letter > "~");
    throw isKey ? new Refusal("This is no key.", 401) : new Refusal("The server does not answer.", 0);
  }
  if (!response.ok) throw await refusalOf(response);
  return response;
}

/** A request's JSON. */
export async function askJson(path, key, options) {
  const response = await ask(path, key, options);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server's answer was cut short.", 0);
  }
}

/** Each `data:` of a stream of events, parsed, up to [DONE]. Throws Refusal for an error event. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Refusal("The answer was cut short.", 0);
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const text = line.endsWith("\r") ? line.slice(0, -1) : line;
        if (!text.startsWith("data:")) continue;
        const data = text.slice(5).trim();
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw new Refusal(event.error.message ?? "The answer failed.", 500);
        yield event;
      }
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof Refusal) throw error;
    throw new Refusal("The answer was cut short.", 0);
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function refusalOf(response) {
  let message = `The server answered ${response.status}.`;
  try {
    const told = await response.json();
    if (typeof told.error?.message === "string") message = told.error.message;
  } catch {
    // No JSON: the status has to do.
  }
  const after = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  return new Refusal(message, response.status, Number.isFinite(after) ? after : null);
}
