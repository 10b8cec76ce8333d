import { afterAll, beforeAll, describe } from 'vitest';
import { type EmbeddedBroker, startEmbeddedBroker } from '../../ts/testing';
import { conformance } from './run';

describe('on the embedded broker', () => {
  let broker: EmbeddedBroker;
  beforeAll(async () => {
    broker = await startEmbeddedBroker();
  });
  afterAll(() => broker.stop());
  // That broker lets a member in beside or after another one only when a session has passed, and finds no offset by
  // its time.
  conformance(() => broker.brokers, { sessionTimeoutMs: 3_000 }, [
    'a new group may start at a time',
    'a seek may go to a time',
  ]);
});
