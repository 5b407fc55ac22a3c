// The panel beside the chat: this tenant's own figures, and how full the steps are.

import { Poll } from "/page/poll.js";
import { askJson } from "/page/server.js";
import {
  Chart, acceptance, bytes, count, decimal, element, make, milliseconds, percent, setMeter,
  setText,
} from "/page/elements.js";

/** key: a function that gives the key in use. onState: called with whether the engine answers. */
export class Live {
  constructor(key, onState) {
    this.key = key;
    this.onState = onState;
    this.answer = null;
    this.chart = new Chart("fill-chart");
    this.poll = new Poll(() => this.look(), 1000);
  }

  /** The names of models and adapters, or null when there is no access. */
  setModels(names) {
    const adapters = (names ?? []).filter((name) => name.includes(":"));
    element("adapters").replaceChildren(
      ...adapters.map((name) => {
        const item = make("li");
        const button = make("button", "chip", name.slice(name.indexOf(":") + 1));
        button.type = "button";
        button.title = name;
        button.addEventListener("click", () => {
          element("model").value = name;
          element("message").focus();
        });
        item.append(button);
        return item;
      }),
    );
    if (!adapters.length) element("adapters").append(make("li", "none", "None"));
    if (names) this.poll.start();
    else this.poll.stop();
  }

  /** The answer that comes now. */
  showAnswer(answer) {
    if (this.answer !== answer) this.poll.start(); // figures change now
    this.answer = answer;
    setText("rate", answer.rate === null ? "–" : decimal(answer.rate));
    const first = answer.firstMilliseconds;
    setText("first", first === null ? "–" : milliseconds(first));
  }

  async look() {
    let told;
    try {
      told = await askJson("/v1/figures", this.key());
    } catch (error) {
      this.onState(error.status);
      throw error;
    }
    this.onState(200);
    const figures = told.tenant;
    setMeter("fill", told.batch_fill);
    setText("fill-text", percent(told.batch_fill));
    this.chart.add(told.batch_fill);
    const share = figures.drafted_tokens ? figures.accepted_tokens / figures.drafted_tokens : 0;
    setMeter("accepted", share);
    setText("accepted-text", acceptance(figures));
    setText("own-running", count(figures.running));
    setText("own-queued", count(figures.queued));
    setText("own-requests", count(figures.requests));
    setText("own-prompt", count(figures.prompt_tokens));
    setText("own-completion", count(figures.completion_tokens));
    setText("own-cache", bytes(figures.cache_bytes));
    setText("own-guest", `${decimal(figures.guest_seconds)} s`);
  }
}
