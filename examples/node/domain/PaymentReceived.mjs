import { DomainEvent } from './DomainEvent.mjs';

/** @import { BaseEventPayload, IDomainEvent } from '@repo-packages/i_event-bus' */
/** @import { OrderPlacedPayload } from './OrderPlaced.mjs' */

/** @typedef {BaseEventPayload & { orderId: string, amount: number }} PaymentReceivedPayload */

/**
 * An order was paid.
 *
 * @extends {DomainEvent<PaymentReceivedPayload>}
 */
export class PaymentReceived extends DomainEvent {
  static TYPE = 'payment.received';

  /** @param {IDomainEvent<OrderPlacedPayload>} placed the order that was paid */
  constructor({ eventId, payload: { orderId, amount } }) {
    super({
      // Events are delivered at least once. An id that follows from the cause makes a second payment of
      // the same order recognisable as the same event.
      eventId: `payment-of-${eventId}`,
      eventType: PaymentReceived.TYPE,
      aggregateId: orderId,
      version: 1,
      payload: { eventType: PaymentReceived.TYPE, timestamp: new Date(), orderId, amount },
    });
  }
}
