import type { Delivery } from './call';
import type { Failure } from './failure';
import type { Registration } from './registry';

/** What earlier attempts of an event have settled. */
export interface Settled {
  /** Handlers that are not called again. */
  readonly handlers: ReadonlySet<Registration>;
  /** Failures of theirs that no attempt can mend. */
  readonly fatal: readonly Failure[];
}

/** As many as a partition may have unfinished behind a failed one. What is forgotten beyond is called again. */
const MAX_PER_PARTITION = 10_000;

interface Slot {
  readonly epoch: number;
  readonly bySequence: Map<number, Settled>;
}

/**
 * Which handlers of an event need no further attempt, for events with several handlers of which some failed.
 *
 * @internal
 */
export class Progress {
  readonly #slots = new Map<number, Slot>();

  get isEmpty(): boolean {
    return this.#slots.size === 0;
  }

  of({ ticketLo, ticketHi }: Delivery): Settled | undefined {
    const slot = this.#slots.get(ticketHi & 0xffff);
    return slot?.epoch === ticketHi >>> 16 ? slot.bySequence.get(ticketLo) : undefined;
  }

  set({ ticketLo, ticketHi }: Delivery, settled: Settled): void {
    const [number, epoch] = [ticketHi & 0xffff, ticketHi >>> 16];
    let slot = this.#slots.get(number);
    if (slot?.epoch !== epoch) {
      slot = { epoch, bySequence: new Map() };
      this.#slots.set(number, slot);
    }
    slot.bySequence.set(ticketLo, settled);
    if (slot.bySequence.size > MAX_PER_PARTITION) {
      const [oldest] = slot.bySequence.keys();
      slot.bySequence.delete(oldest as number);
    }
  }

  delete({ ticketLo, ticketHi }: Delivery): void {
    const number = ticketHi & 0xffff;
    const slot = this.#slots.get(number);
    if (slot?.epoch !== ticketHi >>> 16) return;
    slot.bySequence.delete(ticketLo);
    if (slot.bySequence.size === 0) this.#slots.delete(number);
  }

  /** The partition of that slot is gone. */
  forget(slot: number): void {
    this.#slots.delete(slot);
  }

  clear(): void {
    this.#slots.clear();
  }
}
