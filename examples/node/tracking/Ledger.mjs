import { Latencies } from './Latencies.mjs';

/** @import { IDomainEvent } from '@repo-packages/i_event-bus' */

/** @typedef {{ eventId: string, publishedAt: number, stored: boolean, handled: boolean }} Entry */
/** @typedef {Map<string, Entry>} Order the entries by event type */

/** What became of the events of one type. */
export class Account {
  published = 0;
  refused = 0;
  handled = 0;
  /** Deliveries of events that had been handled already. */
  duplicates = 0;
  /** From the call of publish to the end of the handler. */
  latencies = new Latencies();

  get inFlight() {
    return this.published - this.refused - this.handled;
  }
}

/**
 * Keeps the books: every order must go through every event type, and the event that was published must
 * be the one that was handled.
 */
export class Ledger {
  /** @type {Map<string, Order>} */
  #open = new Map();
  /** @type {Set<string>} */
  #complete = new Set();
  #run;

  /** @type {Map<string, Account>} */
  accounts;
  /** Events that nobody published in this form: wrong ids, orders that do not exist. */
  contradictions = 0;
  /** Events of earlier runs that the topics still hold. */
  skipped = 0;
  /** When something happened last. */
  lastProgress = performance.now();

  /**
   * @param {string} run begins the ids of this run's orders
   * @param {string[]} types the event types that an order goes through
   */
  constructor(run, types) {
    this.#run = run;
    this.accounts = new Map(types.map((type) => [type, new Account()]));
  }

  get complete() {
    return this.#complete.size;
  }

  get open() {
    return this.#open.size;
  }

  /** @param {IDomainEvent<any>} event */
  isOfThisRun(event) {
    const isOurs = event.aggregateId.startsWith(`${this.#run}-`);
    if (!isOurs) {
      this.skipped += 1;
      this.lastProgress = performance.now();
    }
    return isOurs;
  }

  /** @param {IDomainEvent<any>} event */
  publishing({ eventType, aggregateId, eventId }) {
    // A delivery that came twice makes a service publish the same event twice.
    if (this.#complete.has(aggregateId)) return;
    let order = this.#open.get(aggregateId);
    if (order === undefined) {
      order = new Map();
      this.#open.set(aggregateId, order);
    }
    const entry = order.get(eventType);
    if (entry === undefined) {
      const publishedAt = performance.now();
      order.set(eventType, { eventId, publishedAt, stored: false, handled: false });
      this.#account(eventType).published += 1;
    } else if (entry.eventId !== eventId) {
      this.contradictions += 1;
    }
  }

  /** @param {IDomainEvent<any>} event */
  stored({ eventType, aggregateId }) {
    const order = this.#open.get(aggregateId);
    const entry = order?.get(eventType);
    if (order === undefined || entry === undefined) return;
    entry.stored = true;
    this.#progress(aggregateId, order);
  }

  /** @param {IDomainEvent<any>} event */
  refused({ eventType }) {
    this.#account(eventType).refused += 1;
  }

  /** @param {IDomainEvent<any>} event */
  handled({ eventType, aggregateId, eventId }) {
    const account = this.#account(eventType);
    const order = this.#open.get(aggregateId);
    const entry = order?.get(eventType);
    if (order === undefined || entry === undefined) {
      if (this.#complete.has(aggregateId)) account.duplicates += 1;
      else this.contradictions += 1;
    } else if (entry.eventId !== eventId) {
      this.contradictions += 1;
    } else if (entry.handled) {
      account.duplicates += 1;
    } else {
      entry.handled = true;
      account.handled += 1;
      account.latencies.add(performance.now() - entry.publishedAt);
      this.#progress(aggregateId, order);
    }
  }

  /** What is missing, a line per order. */
  missing() {
    return Array.from(this.#open, ([orderId, order]) => `order ${orderId}: ${this.#gap(order)}`);
  }

  /** @param {Order} order */
  #gap(order) {
    for (const type of this.accounts.keys()) {
      const entry = order.get(type);
      if (entry === undefined) return `${type} was never published`;
      if (!entry.stored) return `${type} (${entry.eventId}) was not acknowledged`;
      if (!entry.handled) return `${type} (${entry.eventId}) was stored and never handled`;
    }
    return 'nothing';
  }

  /**
   * @param {string} orderId
   * @param {Order} order
   */
  #progress(orderId, order) {
    this.lastProgress = performance.now();
    if (order.size < this.accounts.size) return;
    for (const { stored, handled } of order.values()) if (!stored || !handled) return;
    // Only what is open is kept whole, so that a long run does not grow by more than an id per order.
    this.#open.delete(orderId);
    this.#complete.add(orderId);
  }

  /** @param {string} type */
  #account(type) {
    const account = this.accounts.get(type);
    if (account === undefined) throw new Error(`no order goes through ${type}`);
    return account;
  }
}
