import { afterAll, beforeAll, describe } from 'vitest';
import { type EmbeddedBroker, startEmbeddedBroker } from '../../ts/testing';
import { conformance } from './run';

describe('on the embedded broker', () => {
  let broker: EmbeddedBroker;
  beforeAll(async () => {
    broker = await startEmbeddedBroker();
  });
  afterAll(() => broker.stop());
  conformance(() => broker.brokers);
});
