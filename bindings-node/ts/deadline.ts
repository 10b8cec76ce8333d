import { clearTimeout, now, setTimeout } from './clock';

/** Expiring together saves timers and walks; nobody waits for a timeout to the millisecond. */
const GRAIN_MS = 10;

/** @internal */
export interface Expiring {
  /** When, by `now()`. */
  readonly deadline: number;
  /** Called once, not before the deadline. */
  expire(): void;
}

/**
 * Any number of deadlines on one timer, which does not keep the process alive.
 *
 * @internal
 */
export class Deadlines {
  readonly #members = new Set<Expiring>();
  #timer: NodeJS.Timeout | undefined;
  #due = Number.POSITIVE_INFINITY;

  add(member: Expiring): void {
    this.#members.add(member);
    this.#schedule(member.deadline);
  }

  /** The timer is left alone: deadlines come and go by the thousand, and one that finds nothing to do costs less. */
  delete(member: Expiring): void {
    this.#members.delete(member);
  }

  #schedule(at: number): void {
    if (at >= this.#due) return;
    this.#stop();
    this.#due = at;
    // A timer takes at most 2^31 - 1 ms; a later deadline is looked at again then.
    const delay = Math.min(Math.max(at - now(), 0) + GRAIN_MS, 0x7fff_ffff);
    this.#timer = setTimeout(() => this.#expire(), delay);
    this.#timer.unref();
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#due = Number.POSITIVE_INFINITY;
  }

  #expire(): void {
    this.#stop();
    const time = now();
    let next = Number.POSITIVE_INFINITY;
    for (const member of this.#members) {
      if (member.deadline <= time) {
        this.#members.delete(member);
        member.expire();
      } else if (member.deadline < next) {
        next = member.deadline;
      }
    }
    if (next !== Number.POSITIVE_INFINITY) this.#schedule(next);
  }
}
