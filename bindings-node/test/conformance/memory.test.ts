import { afterAll, beforeAll, describe } from 'vitest';
import { KafkaEventBus } from '../../ts/kafka/KafkaEventBus';
import { memoryBroker } from '../support/bus';
import { conformance } from './run';

describe('on a broker in memory', () => {
  const brokers = [memoryBroker()];
  // A broker in memory goes with its last bus.
  const keeper = new KafkaEventBus({ clientId: 'keeper', brokers, logger: false });
  beforeAll(() => keeper.connect());
  afterAll(async () => {
    await keeper.disconnect();
  });
  conformance(() => brokers);
});
