import { resolve } from 'node:path';

export const DEFAULT_VERSION = '4.1.0';

/** JVM flags by purpose. Any other text is passed to the JVM as it is, in place of these. */
export const JVM_PRESETS = {
  // C1 alone starts a node in two thirds of the time; right for tests, wrong for measuring throughput.
  quick: ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'],
  throughput: ['-XX:+UseG1GC', '-Xmx1g'],
};

/**
 * What differs between versions of Kafka.
 * @param {string} version such as `4.1.0`
 */
export function traits(version) {
  const match = /^(\d+)\.(\d+)\.(\d+)$/.exec(version);
  if (!match) {
    throw new Error(
      `Kafka version "${version}" is not of the form X.Y.Z, such as ${DEFAULT_VERSION}, 3.9.1 or 2.8.2`,
    );
  }
  const [major, minor] = match.slice(1).map(Number);
  const order = major * 100 + minor;
  if (order < 208) {
    throw new Error(`Kafka ${version} is older than 2.8, the oldest version supported here`);
  }
  return {
    // 3.5 is the first whose StorageTool can add SCRAM users before the first start.
    mode: order >= 305 ? 'kraft' : 'zookeeper',
    log4j: major >= 4 ? 2 : 1,
  };
}

function integer(name, value, least) {
  if (!Number.isInteger(value) || value < least) {
    throw new Error(`${name} must be an integer of at least ${least}, got ${value}`);
  }
  return value;
}

const KNOWN = [
  'nodes',
  'version',
  'dir',
  'sasl',
  'authorizer',
  'autoCreate',
  'messageMaxBytes',
  'set',
  'jvm',
  'startTimeoutMs',
  'log',
];

/** Checks the options of a cluster and fills in the defaults. */
export function normalise(options) {
  for (const name of Object.keys(options)) {
    if (!KNOWN.includes(name))
      throw new Error(`unknown option "${name}" of a Kafka cluster; known: ${KNOWN.join(', ')}`);
  }
  const nodes = options.nodes ?? 1;
  if (nodes !== 1 && nodes !== 3) throw new Error(`a cluster has 1 or 3 nodes, not ${nodes}`);
  const version = options.version ?? DEFAULT_VERSION;
  const jvm = options.jvm ?? 'quick';
  const set = { ...options.set };
  if (options.messageMaxBytes !== undefined) {
    // Followers must be able to fetch what the leader takes.
    const bytes = String(integer('messageMaxBytes', options.messageMaxBytes, 1));
    set['message.max.bytes'] ??= bytes;
    set['replica.fetch.max.bytes'] ??= String(Math.max(Number(bytes), 1_048_576));
  }
  return {
    nodes,
    version,
    ...traits(version),
    dir: options.dir === undefined ? undefined : resolve(options.dir),
    // The restricted user has to log in somewhere.
    sasl: Boolean(options.sasl) || Boolean(options.authorizer),
    authorizer: Boolean(options.authorizer),
    autoCreate: options.autoCreate ?? true,
    set,
    jvm: Array.isArray(jvm) ? jvm : (JVM_PRESETS[jvm] ?? jvm.split(/\s+/).filter(Boolean)),
    startTimeoutMs: integer('startTimeoutMs', options.startTimeoutMs ?? 90_000, 1),
  };
}
