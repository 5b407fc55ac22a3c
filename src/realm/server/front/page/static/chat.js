// The chat: key, model, conversation, one answer at a time.

import { Answer } from "/page/answer.js";
import { askJson } from "/page/server.js";
import { element, make, setNotice, setText } from "/page/elements.js";

const STORED_KEY = "realm.key";

/** onModels: called with the names of models, or null when there is no access any more.
    onAnswer: called with the answer while it comes. */
export class Chat {
  constructor(onModels, onAnswer) {
    this.onModels = onModels;
    this.onAnswer = onAnswer;
    this.key = sessionStorage.getItem(STORED_KEY) ?? "";
    this.messages = [];
    this.stopper = null;
    this.visit = 0;
    element("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.useKey(element("key").value.trim());
    });
    element("key-forget").addEventListener("click", () => this.forgetKey());
    element("new-chat").addEventListener("click", () => this.clear());
    element("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    element("stop").addEventListener("click", () => this.stopper?.abort());
    const message = element("message");
    message.addEventListener("input", () => this.fit());
    message.addEventListener("keydown", (event) => {
      // Not the Enter that ends a composed character.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.stopper?.abort();
    });
  }

  /** Looks whether the key of this tab, or none at all, is let in. */
  async begin() {
    await this.useKey(this.key, true);
  }

  async useKey(key, isFirst = false) {
    const visit = ++this.visit;
    let names;
    try {
      names = (await askJson("/v1/models", key)).data.map((each) => each.id);
    } catch (error) {
      if (visit !== this.visit) return;
      this.close();
      // No key yet is no mistake.
      setNotice("chat-error", isFirst && error.status === 401 && !key ? "" : error.message);
      return;
    }
    if (visit !== this.visit) return;
    this.key = key;
    element("key").value = "";
    if (key) sessionStorage.setItem(STORED_KEY, key);
    else sessionStorage.removeItem(STORED_KEY);
    setNotice("chat-error", "");
    this.open(names);
  }

  forgetKey() {
    this.stopper?.abort();
    this.visit += 1;
    sessionStorage.removeItem(STORED_KEY);
    this.clear();
    this.close();
    element("key").focus();
  }

  open(names) {
    const model = element("model");
    const before = model.value;
    model.replaceChildren(
      ...names.map((name) => {
        const option = make("option", "", name);
        option.value = name;
        return option;
      }),
    );
    if (names.includes(before)) model.value = before;
    model.disabled = !names.length;
    element("message").disabled = element("send").disabled = !names.length;
    element("key-form").hidden = true;
    element("key-known").hidden = false;
    element("key-forget").hidden = !this.key;
    setText("key-name", this.key ? "Key in use" : "No key needed");
    setText(
      "welcome-text",
      names.length ? "Ask something. The answer streams as it is made." : "This tenant may use no model.",
    );
    if (names.length) element("message").focus();
    this.onModels(names);
  }

  close() {
    this.key = "";
    element("model").replaceChildren(make("option", "", "No key yet"));
    element("model").disabled = element("message").disabled = element("send").disabled = true;
    element("key-form").hidden = false;
    element("key-known").hidden = true;
    this.onModels(null);
  }

  clear() {
    this.stopper?.abort();
    this.messages = [];
    element("conversation").replaceChildren();
    element("welcome").hidden = false;
    element("new-chat").hidden = true;
    setNotice("chat-error", "");
  }

  /** Makes the field as high as its text, up to a third of the window. */
  fit() {
    const message = element("message");
    message.style.height = "";
    if (message.scrollHeight > message.clientHeight) {
      message.style.height = `${Math.min(message.scrollHeight + 2, window.innerHeight / 3)}px`;
    }
  }

  async send() {
    const text = element("message").value.trim();
    if (!text || this.stopper || element("send").disabled) return;
    element("message").value = "";
    this.fit();
    setNotice("chat-error", "");
    element("welcome").hidden = true;
    element("new-chat").hidden = false;
    const list = element("conversation");
    const turn = make("li", "turn question");
    turn.append(make("p", "who", "You"), make("p", "text", text));
    list.append(turn);
    const asked = { role: "user", content: text };
    const model = element("model").value;
    const answer = new Answer(list, model);
    const messages = this.messages;
    this.follow(true);
    const stopper = new AbortController();
    this.stopper = stopper;
    this.showBusy(true);
    let ending = "";
    try {
      await answer.run(this.key, this.body(model, [...messages, asked]), stopper.signal, () => {
        answer.tell();
        this.follow(false);
        this.onAnswer(answer);
      });
    } catch (error) {
      if (error.name === "AbortError") ending = "stopped";
      else if (this.messages === messages) {
        ending = "failed";
        setNotice("chat-error", error.message);
      }
    }
    this.stopper = null;
    this.showBusy(false);
    answer.tell(ending);
    this.onAnswer(answer);
    if (this.messages !== messages) return; // another chat has begun
    if (answer.text) messages.push(asked, { role: "assistant", content: answer.text });
    else if (ending) {
      // Nothing came: the question goes back into the field, to be sent again.
      turn.remove();
      answer.item.remove();
      if (!element("message").value) element("message").value = text;
      this.fit();
    }
    this.follow(false);
  }

  body(model, messages) {
    const system = element("system").value.trim();
    const temperature = element("temperature");
    const most = element("max-tokens");
    return {
      model,
      messages: system ? [{ role: "system", content: system }, ...messages] : messages,
      stream: true,
      stream_options: { include_usage: true },
      ...(temperature.checkValidity() && temperature.value && { temperature: Number(temperature.value) }),
      ...(most.checkValidity() && most.value && { max_tokens: Number(most.value) }),
    };
  }

  showBusy(isBusy) {
    const hadFocus = document.activeElement === element(isBusy ? "send" : "stop");
    element("send").hidden = isBusy;
    element("stop").hidden = !isBusy;
    if (hadFocus) element(isBusy ? "stop" : "message").focus();
  }

  /** Keeps the end in view, unless the reader has scrolled away from it. */
  follow(always) {
    const scroll = element("scroll");
    const distance = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight;
    if (always || distance < 160) scroll.scrollTop = scroll.scrollHeight;
  }
}
