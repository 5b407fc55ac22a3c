// Asks again and again while the page can be seen; slower while there is no answer.

/** look: an async function. usualMilliseconds: between two of its calls. */
export class Poll {
  constructor(look, usualMilliseconds) {
    this.look = look;
    this.usual = usualMilliseconds;
    this.turn = 0;
    document.addEventListener("visibilitychange", () => {
      if (this.turn) this.start();
    });
  }

  /** Looks now and from now on. */
  start() {
    this.stop();
    this.turn = ++Poll.turns;
    if (!document.hidden) this.#run(this.turn, 0);
  }

  stop() {
    this.turn = 0;
    clearTimeout(this.timer);
  }

  async #run(turn, failures) {
    const isGood = await this.look().then(
      () => true,
      () => false,
    );
    if (turn !== this.turn) return;
    const missed = isGood ? 0 : failures + 1;
    const wait = Math.min(this.usual * 2 ** missed, 15000);
    this.timer = setTimeout(() => this.#run(turn, missed), wait);
  }

  static turns = 0;
}
