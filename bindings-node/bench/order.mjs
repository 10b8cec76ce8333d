// The event of the benchmarks: 276 bytes as JSON, of one of a thousand customers.
//
// Written as literals: copying objects costs more than what is to be measured.

const KEYS = Array.from({ length: 1000 }, (_, i) => `cust-${1_000_000 + i}`);

export const makeOrder = (i, eventType) => ({
  eventId: '5f2c1c2e-8a3b-4c7e-9d51-0b1c2d3e4f50',
  eventType,
  occurredOn: new Date(),
  aggregateId: KEYS[i % KEYS.length],
  version: 1,
  payload: {
    orderId: 'ord-000012345',
    amount: 129.95,
    currency: 'EUR',
    items: 3,
    channel: 'web',
    region: 'eu-west-1',
  },
});
