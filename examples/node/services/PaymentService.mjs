import { PaymentReceived } from '../domain/PaymentReceived.mjs';

/** @import { IDomainEvent, IEventBus, IEventHandler } from '@repo-packages/i_event-bus' */
/** @import { OrderPlacedPayload } from '../domain/OrderPlaced.mjs' */

/**
 * Collects the money for placed orders.
 *
 * @implements {IEventHandler<OrderPlacedPayload>}
 */
export class PaymentService {
  /** @type {IEventBus<any>} */
  #bus;

  /** @param {IEventBus<any>} bus */
  constructor(bus) {
    this.#bus = bus;
  }

  /** @param {IDomainEvent<OrderPlacedPayload>} event */
  async handle(event) {
    // Awaited, so that the order counts as handled only when its payment is stored.
    await this.#bus.publish(new PaymentReceived(event));
  }
}
