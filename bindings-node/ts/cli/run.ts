import type { EventBusError } from '../error';
import { KafkaEventBus } from '../kafka/KafkaEventBus';
import { addon } from '../native';
import { type Command, readCommand, Usage } from './options';
import { letterJson, record, report, table } from './print';

/** Where a program writes to. */
export interface Output {
  write(text: string): unknown;
}

/** The last part of what a program is given. */
export interface Surroundings {
  readonly environment: NodeJS.ProcessEnv;
  readonly stdout: Output;
  readonly stderr: Output;
}

/**
 * The command line program.
 *
 * @returns its exit code: 0 done, 1 failed, 2 wrong usage, 3 replayed, but some letters were skipped
 */
export async function run(
  args: readonly string[],
  { environment, stdout, stderr }: Surroundings,
): Promise<number> {
  try {
    const command = readCommand(args, environment, addon().version(), Date.now());
    return await execute(command, environment, stdout);
  } catch (error) {
    if (error instanceof Usage) {
      const output = error.status === 0 ? stdout : stderr;
      output.write(error.message.endsWith('\n') ? error.message : `${error.message}\n`);
      return error.status;
    }
    const { code, message, hint } = error as Partial<EventBusError>;
    const advice = hint === undefined || message?.includes(hint) ? '' : `\n${hint}`;
    stderr.write(`${code === undefined ? '' : `${code}: `}${message ?? String(error)}${advice}\n`);
    return code === 'EVBUS_ARGUMENT' || code === 'EVBUS_CONFIG' ? 2 : 1;
  }
}

async function execute(
  command: Command,
  environment: NodeJS.ProcessEnv,
  stdout: Output,
): Promise<number> {
  const bus = busOf(command, environment);
  await bus.connect();
  try {
    const { deadLetterTopic } = command;
    const place = deadLetterTopic === undefined ? {} : { topic: deadLetterTopic };
    const letters = bus.deadLetters(command.eventType, place);
    const print = (json: unknown, text: string): void => {
      stdout.write(command.json ? `${JSON.stringify(json, null, 2)}\n` : text);
    };
    const { partition = 0, offset = 0 } = command.options;
    switch (command.name) {
      case 'ls': {
        const found = await letters.list(command.options);
        print(found.map(letterJson), table(found));
        return 0;
      }
      case 'show': {
        const found = await letters.show({ partition, offset });
        print(letterJson(found), record(found));
        return 0;
      }
      case 'replay': {
        const done = await letters.replay(command.options);
        print(done, report(done));
        return done.skipped > 0 ? 3 : 0;
      }
    }
  } finally {
    await bus.disconnect();
  }
}

function busOf({ config }: Command, environment: NodeJS.ProcessEnv): KafkaEventBus {
  const brokers = config.brokers ?? environment['KAFKA_BROKERS']?.split(',');
  if (brokers === undefined || brokers.join('') === '') {
    throw new Usage('no brokers: give --brokers, or set KAFKA_BROKERS', 2);
  }
  const groupId = config.groupId ?? environment['KAFKA_GROUP_ID']?.trim();
  return new KafkaEventBus({
    clientId: 'i_event-bus-dlq',
    ...config,
    brokers,
    ...(groupId && { groupId }),
    logger: false,
  });
}
