import { expect, it } from 'vitest';
import { program, run } from './support/program';

// Test runners fake what a program can reach; jest, unlike vitest, also process.nextTick, queueMicrotask and the clock.
const FAKE = `
  const never = () => ({ ref() {}, unref() {}, hasRef: () => false });
  const fake = {
    setTimeout: never, clearTimeout() {}, setInterval: never, clearInterval() {}, setImmediate: never,
    clearImmediate() {}, queueMicrotask() {},
  };
  Object.assign(globalThis, fake);
  Object.assign(require('node:timers'), fake);
  process.nextTick = () => {};
  const start = Date.now();
  Date.now = () => start;
  performance.now = () => 0;
`;

it('a bus publishes, handles, retries and ends under timers that stand still', async () => {
  const ended = await run(
    program(`
      ${FAKE}
      const bus = makeBus({ handlerTimeoutMs: 100, retry: { initialDelayMs: 1 } });
      const seen = [];
      await new Promise((resolve, reject) => {
        bus.subscribe('order.placed', {
          handle: async ({ eventId }, { attempt }) => {
            seen.push(eventId + '/' + attempt);
            if (eventId === '1' && attempt === 1) await new Promise(() => {});
            if (eventId === '2') resolve();
          },
        }).then(() => bus.connect()).then(() => bus.publishMany([event('1'), event('2')])).catch(reject);
      });
      const { clean } = await bus.disconnect();
      require('node:fs').writeSync(1, seen.join(' ') + ' ' + clean);
    `),
  );
  expect(ended).toMatchObject({ status: 0, signal: null, stdout: '1/1 1/2 2/1 true', stderr: '' });
});
