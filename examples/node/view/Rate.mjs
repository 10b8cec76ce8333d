/** The time that a rate looks back, in milliseconds. */
const WINDOW_MS = 1000;

/** How much a counter grows per second, over the last second. */
export class Rate {
  /** @type {{ at: number, value: number }[]} */
  #samples = [];

  /**
   * @param {number} value the counter now
   * @param {number} now in milliseconds
   */
  of(value, now) {
    this.#samples.push({ at: now, value });
    // The oldest that is kept lies just outside of the window.
    while (this.#samples.length > 2 && now - this.#samples[1].at >= WINDOW_MS)
      this.#samples.shift();
    const [first] = this.#samples;
    return now === first.at ? 0 : ((value - first.value) / (now - first.at)) * 1000;
  }
}
