import { describe, expect, it } from 'vitest';
import { program, run } from './support/program';

const ok = { status: 0, signal: null };

describe('a program ends by itself', () => {
  it('after its last publish, although it forgets to disconnect', async () => {
    const ended = await run(
      program(`
        const bus = makeBus();
        await bus.connect();
        bus.publish(event('1')).then(() => console.log('stored'));
      `),
    );
    expect(ended).toMatchObject({ ...ok, stdout: 'stored\n', stderr: '' });
  });

  it('when its publishes wait for each other', async () => {
    const ended = await run(
      program(`
        const bus = makeBus({ maxInFlight: 2 });
        await bus.connect();
        const all = Array.from({ length: 100 }, (_, n) => bus.publish(event(String(n))));
        Promise.all(all).then(() => console.log('stored'));
      `),
    );
    expect(ended).toMatchObject({ ...ok, stdout: 'stored\n', stderr: '' });
  });

  it('when it never connects, or the last handler is gone, or after disconnect', async () => {
    const ended = await run(
      program(`
        makeBus();
        const handler = { handle: async () => {} };
        const [left, ended] = [makeBus(), makeBus()];
        for (const bus of [left, ended]) {
          await bus.subscribe('order.placed', handler);
          await bus.connect();
        }
        await left.unsubscribe('order.placed', handler);
        await ended.disconnect();
        console.log('end');
      `),
    );
    expect(ended).toMatchObject({ ...ok, stdout: 'end\n', stderr: '' });
  });

  it('when connecting fails', async () => {
    const ended = await run(
      program(`
        const bus = makeBus({ brokers: ['127.0.0.1:1'], connectTimeoutMs: 300 });
        await bus.connect().catch((error) => console.log(error.code));
      `),
    );
    expect(ended).toMatchObject({ ...ok, stdout: 'EVBUS_UNAVAILABLE\n' });
  });
});

it('a program with a subscription stays alive, and handles until it is told to end', async () => {
  const ended = await run(
    program(`
      const bus = makeBus();
      let count = 0;
      await bus.subscribe('order.placed', { handle: async () => {
        count += 1;
        console.log('handled', count);
      } });
      await bus.connect();
      // Nothing but the subscription holds this process: the events come on an unref'd timer.
      const timer = setInterval(() => bus.publish(event(String(count))), 20);
      timer.unref();
      process.on('SIGTERM', async () => {
        clearInterval(timer);
        await bus.disconnect();
        console.log('disconnected');
      });
    `),
    20_000,
    (stdout, kill) => {
      if (stdout.endsWith('handled 20\n')) kill();
    },
  );
  expect(ended).toMatchObject(ok);
  expect(ended.stdout).toMatch(/handled 20\n(handled \d+\n)*disconnected\n$/);
});

describe('process.exit', () => {
  const inHandler = program(`
    const bus = makeBus();
    await bus.subscribe('order.placed', { handle: async () => {
      bus.publish(event('2')).catch(() => {});
      process.exit(0);
    } });
    await bus.connect();
    await bus.publish(event('1'));
  `);

  it('in a handler ends the process with its status, many times', async () => {
    for (let round = 0; round < 10; round += 1) {
      const all = await Promise.all([run(inHandler), run(inHandler)]);
      for (const ended of all) expect(ended).toMatchObject({ ...ok, stderr: '' });
    }
  }, 120_000);

  it('in a handler of a Kafka client as well', async () => {
    const text = program(`
      const broker = await startEmbeddedBroker({ topics: ['order.placed'], partitions: 1 });
      const bus = makeBus({ brokers: broker.brokers });
      await bus.subscribe('order.placed', { handle: async () => process.exit(7) });
      await bus.connect();
      await bus.publish(event('1'));
    `);
    expect(await run(text, 60_000)).toMatchObject({ status: 7, signal: null, stderr: '' });
  }, 90_000);

  it('right after connect, publish or disconnect began', async () => {
    for (const step of [
      'bus.connect(); process.exit(0);',
      "await bus.connect(); bus.publish(event('1')); process.exit(0);",
      'await bus.connect(); bus.disconnect(); process.exit(0);',
    ]) {
      expect(await run(program(`const bus = makeBus(); ${step}`))).toMatchObject({
        ...ok,
        stderr: '',
      });
    }
  });

  it('an uncaught error ends the process with status 1', async () => {
    const ended = await run(
      program(`
        const bus = makeBus();
        await bus.subscribe('order.placed', { handle: async () => {
          setImmediate(() => { throw new Error('uncaught'); });
        } });
        await bus.connect();
        await bus.publish(event('1'));
      `),
    );
    expect(ended).toMatchObject({ status: 1, signal: null });
    expect(ended.stderr).toContain('uncaught');
  });
});

describe('worker threads', () => {
  const worker = (end: string) => `
    const { Worker, isMainThread, workerData, parentPort } = require('node:worker_threads');
    const main = ${JSON.stringify(
      program(`
        const { workerData, parentPort } = require('node:worker_threads');
        const bus = makeBus({ brokers: ['memory:worker-' + workerData] });
        let handled = 0;
        const done = new Promise((resolve) => {
          bus.subscribe('order.placed', { handle: async () => {
            handled += 1;
            if (handled === 20) resolve();
          } });
        });
        await bus.connect();
        await Promise.all(Array.from({ length: 20 }, (_, n) => bus.publish(event(String(n)))));
        await done;
        ${end}
        parentPort.postMessage(handled);
      `),
    )};
    let sum = 0;
    const all = Array.from({ length: 50 }, (_, n) => new Promise((resolve, reject) => {
      const thread = new Worker(main, { eval: true, workerData: n });
      thread.on('message', (handled) => {
        sum += handled;
        if (${end === ''}) thread.terminate();
      });
      thread.on('error', reject);
      thread.on('exit', resolve);
    }));
    Promise.all(all).then(() => console.log(sum));
  `;

  it('each make, use and close a bus', async () => {
    const ended = await run(worker('await bus.disconnect();'), 90_000);
    expect(ended).toMatchObject({ ...ok, stdout: '1000\n', stderr: '' });
  }, 100_000);

  it('may be terminated without disconnecting', async () => {
    const ended = await run(worker(''), 90_000);
    expect(ended).toMatchObject({ ...ok, stdout: '1000\n', stderr: '' });
  }, 100_000);
});
