// A small client of Realm's WebSocket protocol: one file to copy, without dependencies.
//
//   import { RealmClient } from "./realm_client.mjs";
//   const client = await RealmClient.connect("ws://127.0.0.1:8000/ws", { apiKey });
//   console.log((await client.generate("The capital of France is", { max_tokens: 8 })).text);
//   for await (const piece of client.stream("Once upon a time")) process.stdout.write(piece.text);
//   client.close();
//
// It takes the WebSocket that the platform has: browsers, Deno, Bun, Node 22 and later, Node 20 with
// --experimental-websocket. Any other class of that shape (the package `ws`) can be given instead.

/** The server refused or failed a call. code: RATE_LIMIT_EXCEEDED, UNAUTHORIZED, ... */
export class CallError extends Error {
  constructor({ code, message, details, retry_after }) {
    super(`${code}: ${message}`);
    this.name = "CallError";
    this.code = code;
    this.details = details ?? {};
    this.retryAfter = retry_after; // seconds
  }
}

/** The call was cancelled before it ended. */
export class CallCancelledError extends Error {}

/** The connection is closed, or never came to be: a wrong key, for instance. */
export class ConnectionLostError extends Error {}

export class RealmClient {
  #socket;
  #tenant;
  #count = 0;
  #answers = new Map(); // call id -> {frames, wake}
  #isClosed = false;

  constructor(socket, tenant) {
    this.#socket = socket;
    this.#tenant = tenant;
  }

  /** Resolves once calls can be made. tenantId: sent with every call, if given. */
  static connect(url, { apiKey, tenantId, WebSocket = globalThis.WebSocket } = {}) {
    if (!WebSocket) {
      throw new ConnectionLostError("this platform has no WebSocket: give one in the options");
    }
    const socket = new WebSocket(url);
    const client = new RealmClient(socket, tenantId);
    return new Promise((resolve, reject) => {
      let isOpen = false;
      socket.onmessage = ({ data }) => {
        const frame = JSON.parse(data);
        if (isOpen) {
          client.#take(frame);
        } else if (frame.type === "auth_required") {
          socket.send(JSON.stringify({ type: "auth", api_key: apiKey ?? "" }));
        } else if (frame.type === "auth_failed") {
          reject(new ConnectionLostError(frame.error));
        } else if (frame.status === "connected") {
          isOpen = true;
          client.tenantId = frame.tenant_id;
          client.version = frame.version;
          resolve(client);
        }
      };
      socket.onerror = () => reject(new ConnectionLostError(`no connection to ${url}`));
      socket.onclose = () => {
        client.#lose();
        reject(new ConnectionLostError("the connection was closed"));
      };
    });
  }

  /** {text, tokens_generated, prompt_tokens, time_ms}. */
  generate(prompt, params = {}) {
    return this.call("generate", { prompt, ...params, stream: false });
  }

  /** Frames {token, text, index, logprob?, is_final}; leaving the loop cancels the call. */
  async *stream(prompt, params = {}) {
    const id = this.#begin("generate", { prompt, ...params, stream: true });
    let hasEnded = false;
    try {
      for (;;) {
        const frame = await this.#next(id);
        hasEnded = frame.status !== "streaming";
        if (hasEnded) {
          dataOf(frame);
          return;
        }
        yield frame.data;
      }
    } finally {
      this.#answers.delete(id);
      if (!hasEnded && !this.#isClosed) this.#send("cancel", { id });
    }
  }

  /** {output, steps, ...}. input: the pipeline's inputs by name. */
  pipeline(pipeline, input) {
    return this.call("pipeline", { pipeline, input });
  }

  /** {status, version, ...}. */
  health() {
    return this.call("health", {});
  }

  /** {version, functions, ...}. */
  metadata() {
    return this.call("metadata", {});
  }

  /** The data of any function's answer. */
  async call(functionName, params) {
    const id = this.#begin(functionName, params);
    try {
      for (;;) {
        const frame = await this.#next(id);
        if (frame.status !== "streaming") return dataOf(frame);
      }
    } finally {
      this.#answers.delete(id);
    }
  }

  close() {
    this.#socket.close();
  }

  #begin(functionName, params) {
    if (this.#isClosed) throw new ConnectionLostError("the connection is closed");
    const id = this.#send(functionName, params);
    this.#answers.set(id, { frames: [], wake: null });
    return id;
  }

  #send(functionName, params) {
    const id = `call-${++this.#count}`;
    // A tenant that is undefined is left out by JSON.stringify.
    this.#socket.send(
      JSON.stringify({ id, function: functionName, params, tenant_id: this.#tenant }),
    );
    return id;
  }

  #take(frame) {
    const answer = this.#answers.get(frame.id);
    if (answer === undefined) return;
    answer.frames.push(frame);
    answer.wake?.();
  }

  async #next(id) {
    const answer = this.#answers.get(id);
    while (answer.frames.length === 0) {
      if (this.#isClosed) throw new ConnectionLostError("the connection was closed");
      await new Promise((wake) => (answer.wake = wake));
    }
    return answer.frames.shift();
  }

  #lose() {
    this.#isClosed = true;
    for (const answer of this.#answers.values()) answer.wake?.();
  }
}

function dataOf(frame) {
  if (frame.status === "cancelled") throw new CallCancelledError(frame.id);
  if (frame.status === "error") throw new CallError(frame.error);
  return frame.data;
}
