// Small ways to the page's elements. Text only ever goes in as text.

/** The element with this id. */
export const element = (id) => document.getElementById(id);

/** Sets an element's text where it differs, so that nothing is announced twice. */
export function setText(id, text) {
  const found = element(id);
  if (found.textContent !== text) found.textContent = text;
}

/** Shows a message in the element with this id, or hides it for an empty one. */
export function setNotice(id, text) {
  setText(id, text);
  element(id).hidden = !text;
}

/** A new element with a class and a text. */
export function make(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const one = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const count = (value) => (value < 100000 ? whole.format(value) : short.format(value));
export const decimal = (value) => one.format(value);
export const percent = (share) =>
  `${share > 0 && share < 0.1 ? one.format(share * 100) : whole.format(share * 100)} %`;

/** Shows a share, 0 to 1, in the bar with this id. */
export function setMeter(id, share) {
  const bar = element(id);
  bar.setAttribute("aria-valuenow", String(Math.round(share * 1000) / 10));
  bar.firstElementChild.style.width = `${share * 100}%`;
}

/** Accepted of drafted tokens; a dash where nothing was drafted. */
export const acceptance = (figures) =>
  figures.drafted_tokens ? percent(figures.accepted_tokens / figures.drafted_tokens) : "–";

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  for (; value >= 1000 && at < units.length - 1; at++) value /= 1000;
  return `${at && value < 100 ? one.format(value) : whole.format(value)} ${units[at]}`;
}

export const milliseconds = (value) =>
  value < 1000 ? `${whole.format(value)} ms` : `${one.format(value / 1000)} s`;

/** The last values of something, 0 to 1, drawn as a line; the highest of them at the top. */
export class Chart {
  constructor(id, length = 60) {
    this.line = element(id).querySelector("polyline");
    this.length = length;
    this.values = [];
  }

  add(value) {
    this.values.push(Math.min(1, Math.max(0, value)));
    if (this.values.length > this.length) this.values.shift();
    const top = Math.max(0.02, ...this.values);
    const first = this.length - this.values.length;
    const points = this.values.map((each, index) => {
      const x = ((first + index) * 120) / (this.length - 1);
      return `${x.toFixed(1)},${(31 - (each / top) * 29).toFixed(1)}`;
    });
    this.line.setAttribute("points", points.join(" "));
  }
}

/** What a counter gained a second, over the last seconds in which it was looked at. */
export class Rate {
  constructor(windowSeconds = 15) {
    this.windowSeconds = windowSeconds;
    this.seen = [];
  }

  add(at, total) {
    const last = this.seen.at(-1);
    // Less than before: the engine has started anew.
    if (last && (total < last.total || at < last.at)) this.seen = [];
    if (!last || at > last.at) this.seen.push({ at, total });
    while (this.seen.length > 2 && at - this.seen[0].at > this.windowSeconds) this.seen.shift();
    const [first] = this.seen;
    return at > first.at ? (total - first.total) / (at - first.at) : 0;
  }
}
