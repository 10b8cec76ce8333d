import { DomainEvent } from './DomainEvent.mjs';

/** @import { BaseEventPayload, IDomainEvent } from '@repo-packages/i_event-bus' */
/** @import { PaymentReceivedPayload } from './PaymentReceived.mjs' */

/** @typedef {BaseEventPayload & { orderId: string, carrier: string }} OrderShippedPayload */

/**
 * An order is on its way to the customer.
 *
 * @extends {DomainEvent<OrderShippedPayload>}
 */
export class OrderShipped extends DomainEvent {
  static TYPE = 'order.shipped';

  /**
   * @param {IDomainEvent<PaymentReceivedPayload>} payment of the order that is shipped
   * @param {string} carrier
   */
  constructor({ eventId, payload: { orderId } }, carrier) {
    super({
      eventId: `shipment-of-${eventId}`,
      eventType: OrderShipped.TYPE,
      aggregateId: orderId,
      version: 1,
      payload: { eventType: OrderShipped.TYPE, timestamp: new Date(), orderId, carrier },
    });
  }
}
