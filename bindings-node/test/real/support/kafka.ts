import { randomBytes } from 'node:crypto';
import {
  type Admin,
  ConfigResourceTypes,
  Kafka,
  type KafkaMessage,
  logLevel,
  Partitioners,
  type Producer,
} from 'kafkajs';
import { inject, onTestFinished } from 'vitest';

/** The brokers of the shared Kafka; empty if there is none. */
export const brokers = inject('brokers');

/** Whether to skip what only needs some Kafka. */
export const noBrokers = brokers.length === 0;

/** Whether to skip what has to start a Kafka of its own. */
export const noKafka = inject('noKafka') !== '';

/** A name that nobody else uses. */
export const unique = (name: string): string => `${name}-${randomBytes(4).toString('hex')}`;

/** Another client, against which ours is held. */
export const kafkajs = new Kafka({ clientId: 'kafkajs', brokers, logLevel: logLevel.NOTHING });

async function asAdmin<T>(use: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = kafkajs.admin();
  await admin.connect();
  try {
    return await use(admin);
  } finally {
    await admin.disconnect();
  }
}

/** Makes a topic of the shared Kafka. */
export async function makeTopic(topic: string, numPartitions = 1): Promise<void> {
  // Tests store records with timestamps of long ago, which the usual retention removes at any moment.
  const configEntries = [{ name: 'retention.ms', value: '-1' }];
  const topics = [{ topic, numPartitions, configEntries }];
  await asAdmin((admin) => admin.createTopics({ topics, waitForLeaders: true }));
}

/** The shortest session that the brokers allow, in milliseconds. */
export async function leastSessionMs(): Promise<number> {
  const option = 'group.min.session.timeout.ms';
  const { resources } = await asAdmin(async (admin) => {
    const [broker] = (await admin.describeCluster()).brokers;
    const of = { type: ConfigResourceTypes.BROKER, name: String(broker?.nodeId) };
    return admin.describeConfigs({
      resources: [{ ...of, configNames: [option] }],
      includeSynonyms: false,
    });
  });
  const value = resources[0]?.configEntries.find(({ configName }) => configName === option);
  return Number(value?.configValue);
}

/** A producer with kafkajs' defaults; it ends with the test. */
export async function kafkajsProducer(): Promise<Producer> {
  const producer = kafkajs.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  onTestFinished(() => producer.disconnect());
  return producer;
}

/** What a topic holds and will hold, as kafkajs reads it. */
export async function kafkajsReader(
  topic: string,
): Promise<(KafkaMessage & { readonly partition: number })[]> {
  const consumer = kafkajs.consumer({ groupId: unique('kafkajs'), maxWaitTimeInMs: 100 });
  await consumer.connect();
  onTestFinished(() => consumer.disconnect());
  await consumer.subscribe({ topic, fromBeginning: true });
  const messages: (KafkaMessage & { readonly partition: number })[] = [];
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      messages.push({ ...message, partition });
    },
  });
  return messages;
}
