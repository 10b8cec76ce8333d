import { describe } from 'vitest';
import { conformance } from '../conformance/run';
import { brokers, noBrokers } from './support/kafka';

describe.skipIf(noBrokers)('on a real Kafka', () => {
  conformance(() => brokers);
});
