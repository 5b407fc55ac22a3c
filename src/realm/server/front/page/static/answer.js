// One answer as it comes: its text, its speed, and what is told of it at the end.

import { ask, events } from "/page/server.js";
import { count, decimal, make, milliseconds } from "/page/elements.js";

/** An item of the conversation that an answer flows into. */
export class Answer {
  constructor(list, name) {
    this.item = make("li", "turn answer");
    this.item.append(make("p", "who", name));
    this.body = make("p", "text");
    this.item.append(this.body);
    this.facts = make("p", "facts");
    this.item.append(this.facts);
    this.text = "";
    this.waiting = "";
    this.frame = 0;
    this.pieces = 0;
    this.usage = null;
    this.started = performance.now();
    this.first = null;
    this.last = null;
    this.item.setAttribute("aria-busy", "true");
    list.append(this.item);
  }

  /** Runs the request to its end. onChange: called when something has changed. Throws as `ask`. */
  async run(key, body, signal, onChange) {
    try {
      const response = await ask("/v1/chat/completions", key, { body, signal });
      for await (const event of events(response)) {
        if (event.usage) this.usage = event.usage;
        const choice = event.choices?.[0];
        if (choice?.delta?.content) this.#take(choice.delta.content, onChange);
        if (choice?.finish_reason) this.reason = choice.finish_reason;
      }
    } finally {
      this.#flush(onChange);
      this.item.removeAttribute("aria-busy");
    }
  }

  /** Tokens a second after the first one; null before there are two. */
  get rate() {
    const tokens = this.usage?.completion_tokens ?? this.pieces;
    const seconds = (this.last - this.first) / 1000;
    return tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : null;
  }

  /** Milliseconds to the first token; null before it has come. */
  get firstMilliseconds() {
    return this.first === null ? null : this.first - this.started;
  }

  /** The line beneath the answer. ending: how it ended, where that was not by itself. */
  tell(ending = "") {
    const facts = [];
    const tokens = this.usage?.completion_tokens ?? this.pieces;
    if (tokens) facts.push(`${count(tokens)} ${tokens === 1 ? "token" : "tokens"}`);
    if (this.rate !== null) facts.push(`${decimal(this.rate)} tokens/s`);
    if (this.first !== null) facts.push(`first after ${milliseconds(this.firstMilliseconds)}`);
    if (ending) facts.push(ending);
    else if (this.reason === "length") facts.push("cut at the most tokens");
    this.facts.textContent = facts.join(" · ");
  }

  #take(text, onChange) {
    this.last = performance.now();
    this.first ??= this.last;
    this.pieces += 1;
    this.waiting += text;
    // As often as the screen shows anything, however fast tokens come.
    this.frame ||= requestAnimationFrame(() => this.#flush(onChange));
  }

  #flush(onChange) {
    if (this.frame) cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.text += this.waiting;
    this.waiting = "";
    if (this.body.firstChild) this.body.firstChild.data = this.text;
    else if (this.text) this.body.append(document.createTextNode(this.text));
    onChange(this);
  }
}
