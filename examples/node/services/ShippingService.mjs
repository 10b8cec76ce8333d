import { OrderShipped } from '../domain/OrderShipped.mjs';

/** @import { IDomainEvent, IEventBus, IEventHandler } from '@repo-packages/i_event-bus' */
/** @import { PaymentReceivedPayload } from '../domain/PaymentReceived.mjs' */

/**
 * Ships paid orders.
 *
 * @implements {IEventHandler<PaymentReceivedPayload>}
 */
export class ShippingService {
  /** @type {IEventBus<any>} */
  #bus;

  /** @param {IEventBus<any>} bus */
  constructor(bus) {
    this.#bus = bus;
  }

  /** @param {IDomainEvent<PaymentReceivedPayload>} event */
  async handle(event) {
    const carrier = event.payload.amount > 50 ? 'express' : 'standard';
    await this.#bus.publish(new OrderShipped(event, carrier));
  }
}
