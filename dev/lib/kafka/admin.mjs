import { until } from './processes.mjs';
import { NoAnswer, request, Writer } from './wire.mjs';

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

const NONE = 0;
const REQUEST_TIMED_OUT = 7;
const TOPIC_ALREADY_EXISTS = 36;
const NOT_CONTROLLER = 41;

/** Kafka's own names of the errors that these requests meet in practice. */
const ERRORS = {
  [REQUEST_TIMED_OUT]: 'REQUEST_TIMED_OUT',
  17: 'INVALID_TOPIC_EXCEPTION',
  [TOPIC_ALREADY_EXISTS]: 'TOPIC_ALREADY_EXISTS',
  37: 'INVALID_PARTITIONS',
  38: 'INVALID_REPLICATION_FACTOR',
  40: 'INVALID_CONFIG',
  [NOT_CONTROLLER]: 'NOT_CONTROLLER',
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

/**
 * Tries until `attempt` gives undefined; what it gives otherwise is why it has to be tried again. A broker that does
 * not answer is such a reason too: it may be starting, paused or busy. At the deadline, rejects with the last reason.
 */
async function insist(what, timeoutMs, attempt) {
  let why;
  const done = await until(async () => {
    try {
      why = await attempt();
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      why = error.message;
    }
    return why === undefined;
  }, timeoutMs);
  if (!done) throw new Error(`${what} within ${timeoutMs} ms: ${why}`);
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
  let unanswered = false;
  await insist(`topic "${name}" could not be made`, timeoutMs, async () => {
    // Only the controller takes it in a cluster with ZooKeeper; with KRaft every broker passes it on.
    const { brokers, controller } = await metadata(addresses[0]);
    const broker = brokers.find(({ node }) => node === controller);
    if (!broker) return 'there is no controller';
    const answer = await request(broker, ...CREATE_TOPICS, body, timeoutMs).catch((error) => {
      unanswered = true;
      throw error;
    });
    answer.int32();
    const [result] = answer.array((r) => ({
      name: r.string(),
      error: r.int16(),
      message: r.string(),
    }));
    if (result.error === NONE) return undefined;
    // Then it was our own request that made it, whose answer was lost.
    if (result.error === TOPIC_ALREADY_EXISTS && unanswered) return undefined;
    const said = `${ERRORS[result.error] ?? `error ${result.error}`}${result.message ? `: ${result.message}` : ''}`;
    if (result.error === REQUEST_TIMED_OUT) unanswered = true;
    if (result.error === REQUEST_TIMED_OUT || result.error === NOT_CONTROLLER) return said;
    throw new Error(`topic "${name}" could not be made: ${said}`);
  });
  await insist(`topic "${name}" was made, but not known to all brokers`, timeoutMs, async () => {
    for (const address of addresses) {
      const [topic] = (await metadata(address, [name])).topics;
      const led = topic.partitions.filter(({ leader }) => leader >= 0).length;
      if (topic.error !== NONE || led !== partitions)
        return `${address.host}:${address.port} knows leaders of ${led} of ${partitions} partitions`;
    }
    return undefined;
  });
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
  await insist(`the access rules of ${principal} could not be made`, 15_000, async () => {
    const answer = await request(addresses[0], ...CREATE_ACLS, body);
    answer.int32();
    const results = answer.array((r) => ({ error: r.int16(), message: r.string() }));
    const failed = results.find(({ error }) => error !== NONE);
    return failed && `error ${failed.error}${failed.message ? `, ${failed.message}` : ''}`;
  });
  const filter = new Writer()
    .int8(ANY)
    .string(null)
    .int8(ANY)
    .string(principal)
    .string(null)
    .int8(ANY)
    .int8(ANY)
    .bytes();
  await insist(`the access rules of ${principal} did not reach every broker`, 15_000, async () => {
    for (const address of addresses) {
      const found = await request(address, ...DESCRIBE_ACLS, filter);
      found.int32();
      const error = found.int16();
      found.string();
      const count = found.int32();
      if (error !== NONE || count !== rules.length)
        return `${address.host}:${address.port} knows ${Math.max(count, 0)} of ${rules.length} (error ${error})`;
    }
    return undefined;
  });
}
