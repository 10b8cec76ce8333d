import { coloured } from './format.mjs';
import { Rate } from './Rate.mjs';
import { line, screen, summary } from './render.mjs';

/** @import { Demo } from '../demo.mjs' */

const HIDE_CURSOR = '\x1b[?25l';
const SHOW_CURSOR = '\x1b[?25h';
const CLEAR_BELOW = '\x1b[J';
const up = (/** @type {number} */ lines) => (lines > 0 ? `\x1b[${lines}F` : '');

const SCREEN_MS = 100;
const LINE_MS = 1000;

/** So that an outage, which fails every publish, does not fill the terminal. */
const MAX_MESSAGES = 20;

/** Shows a run while it goes on: drawn in place on a terminal, else a line per second. */
export class LiveView {
  #output;
  #broker;
  #drawn = 0;
  #messages = 0;
  /** @type {Map<string, Rate>} */
  #rates = new Map();
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  /** @type {Demo | undefined} */
  #demo;

  /**
   * @param {import('node:tty').WriteStream} output
   * @param {string} broker what it runs on
   */
  constructor(output, broker) {
    this.#output = output;
    this.#broker = broker;
  }

  get #isTerminal() {
    return this.#output.isTTY === true && process.env.TERM !== 'dumb';
  }

  /** @param {Demo} demo */
  start(demo) {
    this.#demo = demo;
    if (!this.#isTerminal) this.#write([`Order demo on ${this.#broker}`]);
    else this.#output.write(HIDE_CURSOR);
    this.#show();
    this.#timer = setInterval(() => this.#show(), this.#isTerminal ? SCREEN_MS : LINE_MS);
  }

  /**
   * Something that is not part of the view; it stays above it.
   *
   * @param {string} text
   */
  log(text) {
    this.#messages += 1;
    if (this.#messages > MAX_MESSAGES) return;
    this.#erase();
    this.#write([this.#messages < MAX_MESSAGES ? text : 'Further messages are not shown.']);
    if (this.#isTerminal) this.#show();
  }

  /** Ends the view; what it showed makes place for what follows. */
  stop() {
    clearInterval(this.#timer);
    this.#demo = undefined;
    this.#erase();
    if (this.#isTerminal) this.#output.write(SHOW_CURSOR);
  }

  /**
   * @param {Demo} demo
   * @param {boolean} interrupted
   */
  summarise(demo, interrupted) {
    // On a terminal it went with the view; else it is the first line of the output.
    const title = this.#isTerminal ? ['', `  Order demo on ${this.#broker}`] : [];
    this.#write([...title, ...summary(demo, interrupted)]);
  }

  #show() {
    if (this.#demo === undefined) return;
    const rates = this.#sampleRates(this.#demo);
    if (!this.#isTerminal) return this.#write([line(this.#demo, rates)]);
    const lines = screen(this.#demo, this.#broker, rates);
    // A line that wraps, or a view that scrolls, could not be drawn over.
    // Some terminals do not know their size and say 0.
    const columns = this.#output.columns || 80;
    const rows = this.#output.rows || 24;
    const visible = lines.slice(0, rows - 1).map((text) => text.slice(0, columns - 1));
    this.#erase();
    this.#write(visible);
    this.#drawn = visible.length;
  }

  /** @param {Demo} demo */
  #sampleRates({ ledger }) {
    const now = performance.now();
    return new Map(
      Array.from(ledger.accounts, ([type, { handled }]) => {
        const rate = this.#rates.get(type) ?? new Rate();
        this.#rates.set(type, rate);
        return [type, rate.of(handled, now)];
      }),
    );
  }

  #erase() {
    if (this.#drawn > 0) this.#output.write(`${up(this.#drawn)}${CLEAR_BELOW}`);
    this.#drawn = 0;
  }

  /** @param {string[]} lines */
  #write(lines) {
    const isPlain = !this.#isTerminal || process.env.NO_COLOR;
    this.#output.write(`${(isPlain ? lines : lines.map(coloured)).join('\n')}\n`);
  }
}
