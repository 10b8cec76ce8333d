import { until } from './processes.mjs';
import { request, Writer } from './wire.mjs';

// Each request in a version that every broker from 2.8 to 4.x understands.
const METADATA = [3, 4];
const FIND_COORDINATOR = [10, 1];
const CREATE_TOPICS = [19, 2];
const DESCRIBE_ACLS = [29, 1];
const CREATE_ACLS = [30, 1];

const ANY = 1;
const TOPIC = 2;
const GROUP = 3;
const PREFIXED = 4;
const ALL = 2;
const ALLOW = 3;

/** Kafka's own errors, by number, as far as these requests meet them in practice. */
const ERRORS = {
  7: 'REQUEST_TIMED_OUT',
  15: 'COORDINATOR_NOT_AVAILABLE',
  36: 'TOPIC_ALREADY_EXISTS',
  37: 'INVALID_PARTITIONS',
  38: 'INVALID_REPLICATION_FACTOR',
  41: 'NOT_CONTROLLER',
};

/**
 * What a broker knows: the brokers it sees alive, and the topics with leaders and in-sync replicas.
 * @param {string[] | null} topics none by default, all for null
 */
export async function metadata(address, topics = [], timeoutMs = 2_000) {
  const body = new Writer()
    .array(topics, (w, name) => w.string(name))
    .bool(false)
    .bytes();
  const answer = await request(address, ...METADATA, body, timeoutMs);
  answer.int32();
  const brokers = answer.array((r) => {
    const broker = { node: r.int32(), host: r.string(), port: r.int32() };
    r.string();
    return broker;
  });
  answer.string();
  const controller = answer.int32();
  const described = answer.array((r) => {
    const topic = { error: r.int16(), name: r.string(), internal: r.bool() };
    topic.partitions = r.array(() => ({
      error: r.int16(),
      partition: r.int32(),
      leader: r.int32(),
      replicas: r.array(() => r.int32()),
      inSync: r.array(() => r.int32()),
    }));
    return topic;
  });
  return { brokers, controller, topics: described };
}

/** Whether consumer groups can be served already. The first such question makes the offsets topic. */
export async function coordinatorAnswers(address) {
  const answer = await request(
    address,
    ...FIND_COORDINATOR,
    new Writer().string('warm-up').int8(0).bytes(),
  );
  answer.int32();
  return answer.int16() === 0;
}

/** Makes a topic and waits until each of `addresses` knows a leader for each of its partitions. */
export async function createTopic(
  addresses,
  name,
  { partitions = 1, replication, config = {}, timeoutMs = 30_000 },
) {
  const body = new Writer()
    .array([name], (w) =>
      w
        .string(name)
        .int32(partitions)
        .int16(replication)
        .int32(0)
        .array(Object.entries(config), (entry, [key, value]) =>
          entry.string(key).string(String(value)),
        ),
    )
    .int32(timeoutMs)
    .bool(false)
    .bytes();
  let failure;
  const done = await until(async () => {
    // Only the controller takes it in a cluster with ZooKeeper; with KRaft every broker passes it on.
    const { brokers, controller } = await metadata(addresses[0]);
    const broker = brokers.find(({ node }) => node === controller);
    if (!broker) return false;
    const answer = await request(broker, ...CREATE_TOPICS, body, timeoutMs);
    answer.int32();
    const [result] = answer.array((r) => ({
      name: r.string(),
      error: r.int16(),
      message: r.string(),
    }));
    failure = `${ERRORS[result.error] ?? `error ${result.error}`}${result.message ? `: ${result.message}` : ''}`;
    if (result.error === 0) return true;
    if (result.error === 41 || result.error === 7) return false;
    throw new Error(`topic "${name}" could not be made: ${failure}`);
  }, timeoutMs);
  if (!done)
    throw new Error(
      `topic "${name}" could not be made within ${timeoutMs} ms: ${failure ?? 'no controller'}`,
    );
  const known = await until(async () => {
    const views = await Promise.all(addresses.map((address) => metadata(address, [name])));
    return views.every(
      ({ topics: [topic] }) =>
        topic.error === 0 &&
        topic.partitions.length === partitions &&
        topic.partitions.every(({ leader }) => leader >= 0),
    );
  }, timeoutMs);
  if (!known)
    throw new Error(
      `topic "${name}" was made, but has no leaders for its partitions after ${timeoutMs} ms`,
    );
}

/** Lets `principal` do everything with the topics and groups whose names begin with `prefix`, and waits until every broker knows. */
export async function allowPrefix(addresses, principal, prefix) {
  const rules = [TOPIC, GROUP];
  const body = new Writer()
    .array(rules, (w, type) =>
      w
        .int8(type)
        .string(prefix)
        .int8(PREFIXED)
        .string(principal)
        .string('*')
        .int8(ALL)
        .int8(ALLOW),
    )
    .bytes();
  const answer = await request(addresses[0], ...CREATE_ACLS, body);
  answer.int32();
  for (const { error, message } of answer.array((r) => ({
    error: r.int16(),
    message: r.string(),
  }))) {
    if (error !== 0)
      throw new Error(
        `the access rules of ${principal} could not be made: error ${error}${message ? `, ${message}` : ''}`,
      );
  }
  const filter = new Writer()
    .int8(ANY)
    .string(null)
    .int8(ANY)
    .string(principal)
    .string(null)
    .int8(ANY)
    .int8(ANY)
    .bytes();
  const known = await until(async () => {
    const counts = await Promise.all(
      addresses.map(async (address) => {
        const found = await request(address, ...DESCRIBE_ACLS, filter);
        found.int32();
        if (found.int16() !== 0) return 0;
        found.string();
        return found.int32();
      }),
    );
    return counts.every((count) => count === rules.length);
  }, 15_000);
  if (!known)
    throw new Error(`the access rules of ${principal} did not reach every broker within 15 s`);
}
