// How many tests a runner says it ran, from its own closing lines.

// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what colours are made of
const COLOURS = /\u001b\[[0-9;]*m/g;

/** How a runner names a test that failed, and vitest what it failed with. */
const FAILED_TEST = [
  /^test (.+) \.\.\. FAILED$/,
  /^\s*✖ (?!failing tests:)(.+?)( \([\d.]+m?s\))?$/,
  /^ FAIL {2}(.+)$/,
  /^((?:\w*Error): .+)$/,
];
const MAX_NAMED = 20;

/** Counts of tests. */
export class Tally {
  /** Lines that name what failed. */
  named = [];
  passed = 0;
  failed = 0;
  skipped = 0;

  /** Whether anything was counted at all. */
  get any() {
    return this.passed + this.failed + this.skipped > 0;
  }

  /** @param {Tally} other */
  add(other) {
    this.passed += other.passed;
    this.failed += other.failed;
    this.skipped += other.skipped;
  }

  /**
   * Takes one line of output; lines that close no run count nothing.
   *
   * @param {string} text
   */
  line(text) {
    const line = text.replace(COLOURS, '').trimEnd();
    const failed = FAILED_TEST.map((form) => form.exec(line)?.[1]).find(Boolean);
    if (failed && this.named.length < MAX_NAMED && !this.named.includes(failed))
      this.named.push(failed);
    const cargo = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/.exec(line);
    if (cargo) return this.#count(cargo[1], cargo[2], cargo[3]);
    const node = /^\u2139 (pass|fail|cancelled|skipped|todo) (\d+)$/.exec(line);
    if (node) {
      if (node[1] === 'pass') return this.#count(node[2], 0, 0);
      if (node[1] === 'fail' || node[1] === 'cancelled') return this.#count(0, node[2], 0);
      return this.#count(0, 0, node[2]);
    }
    const vitest = /^\s+Tests\s+(\d.*) \(\d+\)$/.exec(line);
    if (vitest) {
      for (const part of vitest[1].split(' | ')) {
        const [number, what] = part.trim().split(' ');
        if (what === 'passed') this.#count(number, 0, 0);
        else if (what === 'failed') this.#count(0, number, 0);
        else this.#count(0, 0, number);
      }
    }
  }

  #count(passed, failed, skipped) {
    this.passed += Number(passed);
    this.failed += Number(failed);
    this.skipped += Number(skipped);
  }

  toString() {
    const skipped = this.skipped > 0 ? `, ${this.skipped} skipped` : '';
    return `${this.passed} passed, ${this.failed} failed${skipped}`;
  }
}
