/** @import { IDomainEvent, IEventBus, IEventHandler } from '@repo-packages/i_event-bus' */
/** @import { Ledger } from './Ledger.mjs' */

/**
 * A bus that tells the ledger of everything that passes, so that the services need not know that they
 * are watched.
 *
 * @implements {IEventBus<any>}
 */
export class ObservedBus {
  /** @type {IEventBus<any>} */
  #bus;
  #ledger;
  /** @type {Map<IEventHandler<any>, IEventHandler<any>>} */
  #observed = new Map();

  /**
   * @param {IEventBus<any>} bus
   * @param {Ledger} ledger
   */
  constructor(bus, ledger) {
    this.#bus = bus;
    this.#ledger = ledger;
  }

  /** @param {IDomainEvent<any>} event */
  async publish(event) {
    this.#ledger.publishing(event);
    try {
      await this.#bus.publish(event);
    } catch (error) {
      this.#ledger.refused(event);
      throw error;
    }
    this.#ledger.stored(event);
  }

  /**
   * @param {string} eventType
   * @param {IEventHandler<any>} handler
   */
  subscribe(eventType, handler) {
    return this.#bus.subscribe(eventType, this.#observe(handler));
  }

  /**
   * @param {string} eventType
   * @param {IEventHandler<any>} handler
   */
  unsubscribe(eventType, handler) {
    return this.#bus.unsubscribe(eventType, this.#observe(handler));
  }

  /**
   * @param {IEventHandler<any>} handler
   * @returns {IEventHandler<any>} always the same one for a handler
   */
  #observe(handler) {
    const known = this.#observed.get(handler);
    if (known !== undefined) return known;
    const observed = {
      handle: async (/** @type {IDomainEvent<any>} */ event) => {
        if (!this.#ledger.isOfThisRun(event)) return;
        await handler.handle(event);
        this.#ledger.handled(event);
      },
    };
    this.#observed.set(handler, observed);
    return observed;
  }
}
