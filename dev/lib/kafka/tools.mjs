import { join } from 'node:path';
import { findClass, javaArguments, runClass, TOOL_FLAGS } from './distribution.mjs';
import { javaCommand } from './java.mjs';
import { spawnWatched } from './processes.mjs';
import { logFlag } from './properties.mjs';

const C = 'org.apache.kafka.tools.';
const K = 'kafka.admin.';

/** Tools by the names of Kafka's scripts; several classes where the tool moved between versions, newest first. */
const TOOLS = {
  'kafka-acls': [`${C}AclCommand`, `${K}AclCommand`],
  'kafka-broker-api-versions': [`${C}BrokerApiVersionsCommand`, `${K}BrokerApiVersionsCommand`],
  'kafka-configs': [`${C}ConfigCommand`, `${K}ConfigCommand`],
  'kafka-console-consumer': [`${C}consumer.ConsoleConsumer`, 'kafka.tools.ConsoleConsumer'],
  'kafka-console-producer': [`${C}ConsoleProducer`, 'kafka.tools.ConsoleProducer'],
  'kafka-consumer-groups': [`${C}consumer.group.ConsumerGroupCommand`, `${K}ConsumerGroupCommand`],
  'kafka-consumer-perf-test': [`${C}ConsumerPerformance`, 'kafka.tools.ConsumerPerformance'],
  'kafka-delete-records': [`${C}DeleteRecordsCommand`, `${K}DeleteRecordsCommand`],
  'kafka-features': [`${C}FeatureCommand`, `${K}FeatureCommand`],
  'kafka-get-offsets': [`${C}GetOffsetShell`, 'kafka.tools.GetOffsetShell'],
  'kafka-leader-election': [`${C}LeaderElectionCommand`, `${K}LeaderElectionCommand`],
  'kafka-metadata-quorum': [`${C}MetadataQuorumCommand`, `${K}MetadataQuorumCommand`],
  'kafka-producer-perf-test': [`${C}ProducerPerformance`],
  'kafka-reassign-partitions': [
    `${C}reassign.ReassignPartitionsCommand`,
    `${K}ReassignPartitionsCommand`,
  ],
  'kafka-topics': [`${C}TopicCommand`, `${K}TopicCommand`],
  'kafka-transactions': [`${C}TransactionsCommand`],
};

const NAMED_CLUSTER =
  /^--(bootstrap-server|bootstrap-controller|broker-list|zookeeper|bootstrap-servers)(=|$)/;

/**
 * What to run for a tool: by the name of Kafka's script (with or without `kafka-`), which is given the cluster's
 * address unless the arguments name one, or any class by its full name, whose arguments are left alone.
 * @returns {{classes: string[], args: string[]}} classes to try in turn
 */
export function resolveTool(name, args, bootstrap) {
  if (name.includes('.')) return { classes: [name], args };
  const classes = TOOLS[name] ?? TOOLS[`kafka-${name}`];
  if (!classes)
    throw new Error(
      `unknown tool "${name}"; known: ${Object.keys(TOOLS).join(', ')}, or any class by its full name`,
    );
  if (classes[0].endsWith('ProducerPerformance')) {
    const named = args.some((arg) =>
      /^(bootstrap\.servers=|--(producer\.config|command-config|bootstrap-server)\b)/.test(arg),
    );
    return {
      classes,
      args: named ? args : [...args, '--producer-props', `bootstrap.servers=${bootstrap}`],
    };
  }
  return {
    classes,
    args: args.some((arg) => NAMED_CLUSTER.test(arg))
      ? args
      : ['--bootstrap-server', bootstrap, ...args],
  };
}

async function prepare(state, bootstrap, name, given) {
  const { classes, args } = resolveTool(name, given, bootstrap);
  const className = await findClass(state.version, classes);
  return { className, args, flags: [logFlag(state.log4j, join(state.dir, 'tool-log.properties'))] };
}

/** Runs a tool to its end; rejects if it fails. */
export async function runTool(state, bootstrap, name, given, { input, timeoutMs = 60_000 }) {
  const { className, args, flags } = await prepare(state, bootstrap, name, given);
  const result = await runClass(state.version, className, args, { flags, input, timeoutMs });
  if (result.code !== 0) {
    const why = result.late
      ? `was not done within ${timeoutMs} ms`
      : `failed with exit code ${result.code}`;
    throw new Error(`${name} ${why}:\n${(result.stderr + result.stdout).trim()}`);
  }
  return result;
}

/** Runs a tool with our own standard input and output; the exit code. */
export async function runToolInTerminal(state, bootstrap, name, given) {
  const { className, args, flags } = await prepare(state, bootstrap, name, given);
  const all = await javaArguments(state.version, className, args, {
    flags: [...TOOL_FLAGS, ...flags],
  });
  const { child } = spawnWatched(javaCommand(), all, { stdio: ['inherit', 'inherit', 'inherit'] });
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('exit', (code, signal) => done(code ?? (signal === 'SIGINT' ? 130 : 137)));
  });
}
