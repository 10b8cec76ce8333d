import type { BaseEventPayload, IDomainEvent } from '../../ts/event';

export interface OrderPlaced extends BaseEventPayload {
  orderId: string;
  amount: number;
}

export function orderPlaced(
  overrides: Partial<IDomainEvent<OrderPlaced>> = {},
): IDomainEvent<OrderPlaced> {
  const occurredOn = new Date('2026-01-02T03:04:05.678Z');
  return {
    eventId: '5f2c1c2e-8a3b-4c7e-9d51-0b1c2d3e4f50',
    eventType: 'order.placed',
    occurredOn,
    aggregateId: 'order-1',
    version: 1,
    payload: {
      eventType: 'order.placed',
      timestamp: occurredOn,
      orderId: 'order-1',
      amount: 129.95,
    },
    ...overrides,
  };
}

/** The same event under another id. */
export const withId = (eventId: string, more: Partial<IDomainEvent<OrderPlaced>> = {}) =>
  orderPlaced({ eventId, ...more });

/** Built as the domain library builds its base class: two own fields, four getters, one service. */
export class DomainEvent<T extends BaseEventPayload> implements IDomainEvent<T> {
  readonly eventId: string;
  readonly occurredOn: Date;

  constructor(
    protected readonly cryptoService: object,
    private readonly _props: IDomainEvent<T>,
  ) {
    this.eventId = _props.eventId;
    this.occurredOn = _props.occurredOn;
  }

  get eventType(): string {
    return this._props.eventType;
  }

  get aggregateId(): string {
    return this._props.aggregateId;
  }

  get version(): number {
    return this._props.version;
  }

  get payload(): T {
    return this._props.payload;
  }
}

/** Calls and returns what it throws. */
export function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}
