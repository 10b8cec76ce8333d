// What the test run says of itself has to be true: its counts, its failures, and that nothing outlives it.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from '../lib/kafka/processes.mjs';
import { Tally } from '../lib/tally.mjs';

const url = (name) => JSON.stringify(new URL(`../lib/${name}`, import.meta.url).href);
const program = (text) => ['--input-type=module', '-e', text];

test('the closing lines of every runner are counted, coloured ones too', () => {
  const tally = new Tally();
  for (const line of [
    'test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 2 filtered out; finished in 0.1s',
    'test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out',
    '\u001b[2m      Tests \u001b[22m \u001b[1m\u001b[31m1 failed\u001b[39m\u001b[22m\u001b[2m | \u001b[22m\u001b[32m20 passed\u001b[39m\u001b[2m | \u001b[22m\u001b[33m4 skipped\u001b[39m\u001b[90m (25)\u001b[39m',
    '      Tests  100 passed (100)',
    ' Test Files  7 passed (7)',
    'ℹ tests 9',
    'ℹ pass 5',
    'ℹ fail 1',
    'ℹ cancelled 1',
    'ℹ skipped 2',
    'ℹ todo 0',
    '7 passed, 7 failed',
  ]) {
    tally.line(line);
  }
  assert.equal(String(tally), '138 passed, 5 failed, 9 skipped');
});

test('failed tests are remembered by name, whichever runner names them', () => {
  const tally = new Tally();
  for (const line of [
    'test config::tests::defaults ... ok',
    'test bus::everything_arrives ... FAILED',
    '\u001b[41m\u001b[1m FAIL \u001b[22m\u001b[49m bindings-node/test/exit.test.ts > exit > in a handler',
    'AssertionError: expected 1 to be 2',
    '✖ the demo ends (1204.5ms)',
    '✖ failing tests:',
    '  ✖ the demo ends (1204.5ms)',
  ]) {
    tally.line(line);
  }
  assert.deepEqual(tally.named, [
    'bus::everything_arrives',
    'bindings-node/test/exit.test.ts > exit > in a handler',
    'AssertionError: expected 1 to be 2',
    'the demo ends',
  ]);
});

test('a step that fails hides no other, and what needs it does not run', () => {
  const text = `
    import { Failure } from ${url('exec.mjs')};
    import { Skip, Steps } from ${url('steps.mjs')};
    const steps = new Steps();
    const node = (body) => [process.execPath, '-e', body];
    await steps.command('good', node("console.log('test result: ok. 3 passed; 0 failed; 1 ignored')"));
    await steps.command('bad', node('process.exit(3)'));
    await steps.command('liar', node("console.log('test result: FAILED. 0 passed; 2 failed; 0 ignored')"));
    await steps.command('absent', ['/nonexistent/program']);
    await steps.command('later', node("console.log('never printed')"), { needs: ['good', 'bad'] });
    await steps.step('unable', async () => { throw new Skip('there is no moon'); });
    await steps.step('plain', async () => {});
    steps.close();
    process.exitCode = steps.failed ? 1 : 0;
  `;
  const { status, stdout, stderr } = spawnSync(process.execPath, program(text), {
    encoding: 'utf8',
  });
  assert.equal(status, 1, stderr);
  assert.match(stdout, /^ok +good/m);
  assert.match(stdout, /^FAILED +bad .*ended with status 3$/m);
  assert.match(stdout, /^FAILED +liar/m);
  assert.match(stdout, /^FAILED +absent .*ended with status 127$/m);
  assert.match(stdout, /^FAILED +later .*not run, because "bad" failed$/m);
  assert.doesNotMatch(stdout, /never printed/);
  assert.match(stdout, /!!! SKIPPED: unable !!!\nthere is no moon/);
  assert.match(stdout, /\n4 passed, 5 failed, 2 skipped\n$/);
});

for (const signal of ['SIGTERM', 'SIGINT', 'SIGKILL']) {
  test(`a run that ends by ${signal} takes its children's children along`, async () => {
    const text = `
      import { stream } from ${url('child.mjs')};
      await stream(['sh', '-c', 'sleep 300 & echo pid $! $$; wait']);
    `;
    const run = spawn(process.execPath, program(text), { stdio: ['ignore', 'pipe', 'inherit'] });
    const [said] = await once(run.stdout, 'data');
    const pids = /^pid (\d+) (\d+)/.exec(said).slice(1).map(Number);
    const alive = () => pids.filter(isAlive);
    assert.deepEqual(alive(), pids);
    run.kill(signal);
    await once(run, 'exit');
    assert.ok(await until(() => alive().length === 0, 10_000), `${alive()} still run`);
  });
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    if (error.code === 'ESRCH') return false;
    throw error;
  }
}

test('wrong arguments are refused before anything runs', () => {
  const script = fileURLToPath(new URL('../test.mjs', import.meta.url));
  for (const args of [['--fast'], ['--only'], ['--only', 'rust,everything'], ['--kafka', '4']]) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
      encoding: 'utf8',
    });
    assert.equal(status, 1, args.join(' '));
    assert.match(stderr, /usage|there is no step everything|not of the form/);
    assert.equal(stdout, '');
  }
});
