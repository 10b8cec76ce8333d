import { startEmbeddedBroker } from '@repo-packages/i_event-bus/testing';

/**
 * The Kafka to run on.
 *
 * @param {string[]} brokers empty: a broker inside this process
 * @param {string[]} topics
 */
export async function openBroker(brokers, topics) {
  if (brokers.length > 0) {
    return { name: `Kafka at ${brokers.join(', ')}`, config: { brokers }, stop: async () => {} };
  }
  const embedded = await startEmbeddedBroker({ topics, partitions: 4 });
  return {
    name: `the embedded broker at ${embedded.brokers.join(', ')}`,
    config: {
      brokers: embedded.brokers,
      // A real broker answers a waiting consumer as soon as there is an event, this one when the time is up.
      kafka: { 'fetch.wait.max.ms': 10 },
    },
    stop: () => embedded.stop(),
  };
}
