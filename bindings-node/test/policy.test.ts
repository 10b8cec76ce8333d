import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkConfig, checkSubscription, type KafkaConfig } from '../ts/config';
import { ConfigError } from '../ts/error';
import { coreOptions, type SubscribeOptions } from '../ts/policy';
import { collector, makeBus } from './support/bus';
import { thrownBy } from './support/events';
import { rejection } from './support/promises';

const root = join(__dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

/** The options by name with their defaults, as the core's table has them: a test of the core holds it there. */
function table(): Map<string, string> {
  const [, text = ''] = /<!-- options:.*?-->(.*?)<!-- \/options -->/s.exec(read('README.md')) ?? [];
  const rows = [...text.matchAll(/^\| `([^`]+)` \| .*? \| (?:`([^`]*)`|–) \| /gm)];
  return new Map(rows.map(([, name = '', value = '']) => [name, value]));
}

/** The members of an interface by name with their comments. */
function members(path: string, name: string): Map<string, string> {
  const source = read(path);
  const [, body = ''] =
    new RegExp(`interface ${name}\\b[^{]*\\{\\n(.*?)\\n\\}`, 's').exec(source) ?? [];
  const all = [...body.matchAll(/\/\*\*((?:(?!\*\/).)*)\*\/\n {2}readonly (\w+)\??:/gs)];
  return new Map(all.map(([, comment = '', member = '']) => [member, comment]));
}

const policy = members('bindings-node/ts/policy.ts', 'DeliveryPolicy');
const retry = members('bindings-node/ts/policy.ts', 'RetryOptions');

describe('the types of the options', () => {
  it('name what the table of the core names', () => {
    const own = members('bindings-node/ts/config.ts', 'KafkaConfig');
    const names = [...own.keys(), ...policy.keys(), 'sasl'];
    const flat = [...table().keys()].map((name) => name.split('.')[0] as string);
    const onlyHere = ['logger', 'onError', 'isRetryable'];
    expect(new Set(names)).toEqual(new Set([...flat, ...onlyHere]));
    const retries = [...table().keys()].filter((name) => name.startsWith('retry.'));
    expect([...retry.keys()].map((name) => `retry.${name}`).sort()).toEqual(retries.sort());
  });

  it('document the defaults of the table', () => {
    const defaults = table();
    for (const [name, comment] of [
      ...policy,
      ...[...retry].map(([name, comment]) => [`retry.${name}`, comment] as const),
    ]) {
      if (name === 'retry' || name === 'isRetryable') continue;
      const [, text = ''] = /Default ([^.]*(?:\.dead-letter`)?)\.\s*$/.exec(comment) ?? [];
      expect([name, text.replace(/[`\s]/g, '')]).toEqual([name, defaults.get(name)]);
    }
  });

  it('are those that a subscription takes', () => {
    const { settings } = checkConfig({ clientId: 'x', brokers: ['localhost:9092'] });
    const inForce = Object.keys(settings.policy);
    expect(new Set(inForce)).toEqual(
      new Set([...policy.keys(), 'from'].filter((name) => name !== 'isRetryable')),
    );
    expect(Object.keys(settings.policy['retry'] as object).sort()).toEqual(
      [...retry.keys()].sort(),
    );
  });
});

describe('the options of a subscription', () => {
  const config: KafkaConfig = {
    clientId: 'x',
    brokers: ['localhost:9092'],
    concurrency: 8,
    retry: { attempts: 9 },
    handlerTimeoutMs: 40,
  };
  const check = (options: unknown) =>
    checkSubscription(checkConfig(config).json, options as SubscribeOptions);

  it('replace those of the bus one by one', () => {
    expect(check({ ordering: 'key', retry: { jitter: 'none' } }).policy).toMatchObject({
      ordering: 'key',
      concurrency: 8,
      handlerTimeoutMs: 40,
      retry: { attempts: 9, jitter: 'none', initialDelayMs: 200 },
      from: 'earliest',
    });
  });

  it('are none for the core where only JavaScript is asked for', () => {
    const isRetryable = () => true;
    expect(check({ isRetryable })).toEqual({ isRetryable });
    expect(check({ ordering: undefined })).toEqual({});
  });

  it.each([
    [{ from: 'latest' }, 'latest'],
    [{ from: { timestamp: 5 } }, { timestamp: 5 }],
    [{ from: { timestamp: new Date(5) } }, { timestamp: 5 }],
  ])('%j', (options, from) => {
    expect(check(options).policy).toMatchObject({ from });
  });

  it.each([
    [5, /must be an object/],
    [null, /must be an object/],
    [[], /must be an object/],
    [{ orderin: 'key' }, /there is no option orderin.*ordering/],
    [{ groupId: 'x' }, /groupId is an option of the bus/],
    [{ ordering: 'none' }, /ordering must be one of partition, key/],
    [{ concurrency: 0 }, /concurrency must be an integer/],
    [{ retry: { attempts: 0 } }, /retry.attempts must be an integer/],
    [{ retry: 5 }, /retry must be an object/],
    [{ handlerTimeoutMs: Number.NaN }, /handlerTimeoutMs must be an integer/],
    [{ onExhausted: 'ignore' }, /onExhausted must be one of/],
    [{ deadLetterTopic: '{topic}' }, /deadLetterTopic is the topic itself/],
    [{ isRetryable: true }, /isRetryable must be a function/],
    [{ from: 'now' }, /from must be earliest, latest or a timestamp/],
    [{ from: { timestamp: new Date(Number.NaN) } }, /from must be earliest/],
    [{ from: { timestamp: -5 } }, /from must be earliest/],
  ])('are refused: %j', (options, message) => {
    const error = thrownBy(() => check(options)) as ConfigError;
    expect(error).toBeInstanceOf(ConfigError);
    expect(`${error.message} ${error.hint}`).toMatch(message);
  });

  it('do not send dead letters to a topic that the bus consumes, and leave no handler behind then', async () => {
    const { bus } = makeBus();
    const subscribe = (type: string, deadLetterTopic?: string) =>
      bus.subscribe(
        type,
        collector(),
        deadLetterTopic === undefined ? undefined : { deadLetterTopic },
      );
    expect(await rejection(subscribe('order.placed', 'order.placed'))).toMatchObject({
      code: 'EVBUS_ARGUMENT',
      message: 'a topic cannot take in its own dead letters',
      context: { option: 'deadLetterTopic' },
    });
    await subscribe('order.placed', 'failures');
    for (const again of [false, true]) {
      // Before connect() and after it.
      if (again) await bus.connect();
      expect(await rejection(subscribe('failures'))).toMatchObject({
        message: 'the dead letters of order.placed would be delivered as events of failures',
      });
      expect([...bus.handlers.keys()]).toEqual(['order.placed']);
    }
    await subscribe('order.paid', 'failures');
  });

  it('are copied for the core without changing them', () => {
    const options = { from: { timestamp: new Date(5) }, isRetryable: () => true } as const;
    expect(coreOptions(options)).toEqual({ from: { timestamp: 5 } });
    expect(options.from.timestamp).toEqual(new Date(5));
  });
});
