import { randomUUID } from 'node:crypto';

/** @import { BaseEventPayload, IDomainEvent } from '@repo-packages/i_event-bus' */

/**
 * What makes an event; `eventId` and `occurredOn` are filled in where they are left out.
 *
 * @template {BaseEventPayload} T
 * @typedef {object} DomainEventProps
 * @property {string} [eventId]
 * @property {string} eventType
 * @property {Date} [occurredOn]
 * @property {string} aggregateId
 * @property {number} version
 * @property {T} payload
 */

/**
 * The base class of domain events, in the shape that domain libraries give it: two fields, and getters
 * over what is private. The bus writes the six properties of the interface, whatever else a class has.
 *
 * @template {BaseEventPayload} T
 * @implements {IDomainEvent<T>}
 */
export class DomainEvent {
  /** @param {DomainEventProps<T>} props */
  constructor(props) {
    /** @private */
    this._props = props;
    this.eventId = props.eventId ?? randomUUID();
    this.occurredOn = props.occurredOn ?? new Date();
  }

  /** The name of the Kafka topic. */
  get eventType() {
    return this._props.eventType;
  }

  /** The record's key: events of one aggregate and one type arrive in order. */
  get aggregateId() {
    return this._props.aggregateId;
  }

  get version() {
    return this._props.version;
  }

  get payload() {
    return this._props.payload;
  }
}
