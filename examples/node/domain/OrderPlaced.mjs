import { DomainEvent } from './DomainEvent.mjs';

/** @import { BaseEventPayload } from '@repo-packages/i_event-bus' */

/** @typedef {BaseEventPayload & { orderId: string, customer: string, amount: number }} OrderPlacedPayload */

/**
 * A customer ordered something.
 *
 * @extends {DomainEvent<OrderPlacedPayload>}
 */
export class OrderPlaced extends DomainEvent {
  static TYPE = 'order.placed';

  /** @param {{ orderId: string, customer: string, amount: number }} order */
  constructor({ orderId, customer, amount }) {
    super({
      eventType: OrderPlaced.TYPE,
      aggregateId: orderId,
      version: 1,
      payload: { eventType: OrderPlaced.TYPE, timestamp: new Date(), orderId, customer, amount },
    });
  }
}
