import { OrderPlaced } from '../domain/OrderPlaced.mjs';

/** @import { IDomainEvent, IEventBus, IEventHandler } from '@repo-packages/i_event-bus' */
/** @import { OrderShippedPayload } from '../domain/OrderShipped.mjs' */

const CUSTOMERS = ['Ada', 'Edsger', 'Grace', 'Barbara', 'Tony'];

/**
 * Takes orders, and hears of it when one is shipped.
 *
 * @implements {IEventHandler<OrderShippedPayload>}
 */
export class Shop {
  /** @type {IEventBus<any>} */
  #bus;

  /** Orders that are not shipped yet. */
  open = new Set();

  /** @param {IEventBus<any>} bus */
  constructor(bus) {
    this.#bus = bus;
  }

  /**
   * Resolves when the order is stored.
   *
   * @param {string} orderId
   * @param {number} number
   */
  async placeOrder(orderId, number) {
    this.open.add(orderId);
    const customer = CUSTOMERS[number % CUSTOMERS.length];
    const amount = 10 + (number % 90) + 0.95;
    await this.#bus.publish(new OrderPlaced({ orderId, customer, amount }));
  }

  /** @param {IDomainEvent<OrderShippedPayload>} event */
  async handle(event) {
    // Does no harm when the same event comes twice.
    this.open.delete(event.payload.orderId);
  }
}
