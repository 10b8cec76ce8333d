// The service of examples/docker, laid out as in the final stage of its images, on the embedded broker.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { build } from '../build.mjs';
import { root } from '../lib/exec.mjs';

const require = createRequire(import.meta.url);
const PATIENCE_MS = 60_000;

let app;
before(
  async () => {
    await build();
    app = mkdtempSync(join(tmpdir(), 'evbus-service-'));
    for (const file of ['server.mjs', 'package.json']) {
      copyFileSync(join(root, 'examples/docker/app', file), join(app, file));
    }
    const installed = join(app, 'node_modules/@repo-packages/i_event-bus');
    mkdirSync(installed, { recursive: true });
    copyFileSync(join(root, 'package.json'), join(installed, 'package.json'));
    symlinkSync(join(root, 'dist'), join(installed, 'dist'), 'dir');
  },
  { timeout: 900_000 },
);
after(() => rmSync(app, { recursive: true, force: true }));

async function until(what, holds) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const value = await holds();
    if (value) return value;
    assert.ok(Date.now() < deadline, `${what}: not within ${PATIENCE_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Starts the service; it is killed behind the test if it still runs. */
async function start(t, variables) {
  const env = {
    ...process.env,
    KAFKA_CLIENT_ID: 'orders',
    KAFKA_GROUP_ID: 'billing',
    PORT: '0',
    ...variables,
  };
  const child = spawn(process.execPath, ['server.mjs'], {
    cwd: app,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) {
    child[name].setEncoding('utf8').on('data', (text) => {
      output[name] += text;
    });
  }
  const ended = new Promise((resolve) => {
    child.once('close', (status, signal) => resolve({ status, signal, stderr: output.stderr }));
  });
  const records = () =>
    output.stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  const record = (event) =>
    until(`the record ${event}, in ${output.stderr}`, () =>
      records().find((one) => one.event === event),
    );
  const { port } = await record('listening');
  const get = async (path) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, body: await response.json() };
  };
  return { child, ended, record, records, get };
}

const broker = () =>
  require(join(root, 'dist/testing.js')).startEmbeddedBroker({
    topics: ['order.placed'],
    partitions: 2,
  });

test('it publishes, handles, answers its probes and ends in order', {
  timeout: 180_000,
}, async (t) => {
  const kafka = await broker();
  t.after(() => kafka.stop());
  const service = await start(t, {
    KAFKA_BROKERS: kafka.brokers.join(','),
    PUBLISH_EVERY_MS: '20',
  });
  const { status: alive, body: liveness } = await service.get('/live');
  assert.deepEqual([alive, liveness.ok], [200, true], JSON.stringify(liveness));
  await until('the service is ready', async () => (await service.get('/ready')).status === 200);
  assert.match((await service.record('handled')).aggregateId, /^order-\d+$/);
  const { status, body } = await service.get('/metrics');
  assert.equal(status, 200);
  assert.ok(
    body.connected && body.publish.acknowledged > 0 && body.consume.handled > 0,
    JSON.stringify(body),
  );
  assert.equal((await service.get('/nothing')).status, 404);

  service.child.kill('SIGTERM');
  assert.deepEqual(await service.ended, { status: 0, signal: null, stderr: '' });
  const report = await service.record('ended');
  assert.deepEqual(
    [report.clean, report.lost, report.abandoned],
    [true, 0, 0],
    JSON.stringify(report),
  );
});

test('without a Kafka it is alive, not ready, and ends when told to', {
  timeout: 120_000,
}, async (t) => {
  // A port that is taken and answers nothing: nobody else can open it meanwhile.
  const silent = createServer().listen(0, '127.0.0.1');
  t.after(() => silent.close());
  await new Promise((resolve) => silent.once('listening', resolve));
  const service = await start(t, { KAFKA_BROKERS: `127.0.0.1:${silent.address().port}` });
  assert.equal((await service.get('/live')).status, 200);
  const { status, body } = await service.get('/ready');
  assert.deepEqual(
    [status, body.ok, body.connected, body.ending, body.reasons[0].code],
    [503, false, false, false, 'not_connected'],
  );
  service.child.kill('SIGTERM');
  assert.deepEqual(await service.ended, { status: 0, signal: null, stderr: '' });
});

test('a wrong setting ends it at once, and says which', { timeout: 60_000 }, async (t) => {
  const env = {
    ...process.env,
    KAFKA_BROKERS: 'kafka',
    KAFKA_CLIENT_ID: 'orders',
    KAFKA_GROUP_ID: 'billing',
  };
  const child = spawn(process.execPath, ['server.mjs'], {
    cwd: app,
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  const status = await new Promise((resolve) => child.once('close', resolve));
  assert.equal(status, 1);
  assert.match(stderr, /brokers\[0\] "kafka" is not an address: it has no port/);
});
