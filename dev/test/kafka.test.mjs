// Run with: node --test dev/test/
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { javaAvailable, startKafka } from '../lib/kafka/cluster.mjs';
import { findNodes, run, until } from '../lib/kafka/processes.mjs';
import { resolveTool } from '../lib/kafka/tools.mjs';

const COMMAND = fileURLToPath(new URL('../kafka', import.meta.url));
const LIBRARY = new URL('../lib/kafka/cluster.mjs', import.meta.url).href;

const java = javaAvailable();
const skip = !java.ok && `skipped: ${java.reason}`;
if (skip) console.error(`NO REAL KAFKA HERE, ${skip}`);

const scratch = mkdtempSync(join(tmpdir(), 'kafka-test-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

function kafka(dir, ...args) {
  return spawnSync(COMMAND, ['--dir', dir, ...args], { encoding: 'utf8' });
}

function ok(result) {
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

async function accepts(address) {
  const [host, port] = address.split(':');
  const socket = connect({ host, port: Number(port) });
  try {
    return await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(
        () => false,
        () => false,
      ),
    ]).catch(() => false);
  } finally {
    socket.destroy();
  }
}

test('a node keeps its records over kill and start, and nothing is left after down', {
  skip,
  timeout: 300_000,
}, async () => {
  const cluster = await startKafka();
  const { dir, bootstrap } = cluster;
  try {
    await cluster.createTopic('orders', { partitions: 1 });
    await cluster.tool('kafka-console-producer', ['--topic', 'orders'], { input: 'one\ntwo\n' });

    await cluster.kill(1);
    assert.equal(await accepts(bootstrap), false);
    assert.deepEqual(
      (await cluster.status()).map(({ state, answers }) => [state, answers]),
      [['stopped', false]],
    );

    assert.equal(await cluster.start(1), true);
    assert.equal(cluster.bootstrap, bootstrap);
    const { stdout } = await cluster.tool('kafka-console-consumer', [
      '--topic',
      'orders',
      '--from-beginning',
      '--max-messages',
      '2',
    ]);
    assert.deepEqual(stdout.trim().split('\n'), ['one', 'two']);

    await assert.rejects(cluster.createTopic('orders'), /TOPIC_ALREADY_EXISTS/);
    await assert.rejects(cluster.kill(2), /there is no node 2/);
    await assert.rejects(cluster.start(1), /running already/);
    await cluster.pause(1);
  } finally {
    await cluster.down();
  }
  assert.equal(findNodes(dir).size, 0);
  assert.equal(existsSync(dir), false);
});

test('the command keeps a cluster between its calls', { skip, timeout: 300_000 }, async () => {
  const dir = join(scratch, 'command');
  try {
    const { bootstrap } = JSON.parse(ok(kafka(dir, '--no-auto-create', 'up', '--json')));
    ok(kafka(dir, 'tool', 'kafka-topics', '--create', '--topic', 'orders'));
    assert.match(ok(kafka(dir, 'tool', 'kafka-topics', '--list')), /^orders$/m);

    assert.match(kafka(dir, 'up').stderr, /there is a cluster in .* already/);
    ok(kafka(dir, 'pause', '1'));
    const paused = kafka(dir, 'status');
    assert.equal(paused.status, 3);
    assert.match(paused.stdout, /node 1: paused .* does not answer/);
    ok(kafka(dir, 'cont', '1'));
    assert.ok(await until(() => kafka(dir, 'status').status === 0, 20_000));

    ok(kafka(dir, 'kill', '1'));
    ok(kafka(dir, 'start', '1'));
    assert.match(ok(kafka(dir, 'status')), new RegExp(`^bootstrap: ${bootstrap}$`, 'm'));
    ok(kafka(dir, 'pause', '1'));
  } finally {
    ok(kafka(dir, 'down'));
  }
  assert.equal(findNodes(dir).size, 0);
  assert.equal(existsSync(dir), false);
  assert.match(kafka(dir, 'kill', '1').stderr, /no cluster in/);
});

for (const end of ['SIGKILL', 'SIGTERM', 'an uncaught exception', 'process.exit()']) {
  test(`the nodes and their data go with a program that ends by ${end}`, {
    skip,
    timeout: 120_000,
  }, async () => {
    const last =
      {
        'an uncaught exception': `setTimeout(() => { throw new Error('meant') })`,
        'process.exit()': 'process.exit(0)',
      }[end] ?? 'setInterval(() => {}, 1000)';
    const program = `import { startKafka } from ${JSON.stringify(LIBRARY)}; const cluster = await startKafka(); console.log(cluster.dir); ${last}`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const exit = once(child, 'exit');
    const [said] = await once(child.stdout, 'data');
    const dir = said.toString().trim();
    assert.ok(dir.length > 0);
    if (end.startsWith('SIG')) {
      assert.equal(findNodes(dir).size, 1);
      child.kill(end);
    }
    await exit;
    assert.ok(
      await until(() => findNodes(dir).size === 0 && !existsSync(dir), 15_000),
      `${dir} or its process is still there`,
    );
  });
}

test('a start that fails says why, and leaves nothing', { skip, timeout: 120_000 }, async () => {
  const dir = join(scratch, 'failing');
  await assert.rejects(
    startKafka({ dir, set: { 'num.partitions': 'many' } }),
    /node 1 .* ended while starting.*Invalid value many/s,
  );
  assert.equal(findNodes(dir).size, 0);
  assert.equal(existsSync(dir), false);
});

test('wrong options are refused before anything is started', async () => {
  await assert.rejects(startKafka({ nodes: 2 }), /1 or 3 nodes/);
  await assert.rejects(startKafka({ version: '4' }), /not of the form X\.Y\.Z/);
  await assert.rejects(startKafka({ version: '2.4.1' }), /older than 2\.8/);
  await assert.rejects(startKafka({ node: 1 }), /unknown option "node"/);
  await assert.rejects(startKafka({ messageMaxBytes: 1.5 }), /messageMaxBytes must be an integer/);
  const dir = join(scratch, 'usage');
  for (const args of [['frobnicate'], ['up', '--bogus'], ['--set', 'x', 'up'], ['up', 'three']]) {
    const result = kafka(dir, ...args);
    assert.equal(result.status, 2, args.join(' '));
    assert.match(result.stderr, /dev\/kafka --help/);
  }
  assert.equal(existsSync(dir), false);
  assert.match(ok(spawnSync(COMMAND, ['--help'], { encoding: 'utf8' })), /--no-auto-create/);
});

test('a tool is given the address of the cluster unless it names one', () => {
  assert.deepEqual(resolveTool('kafka-topics', ['--list'], 'b:1').args, [
    '--bootstrap-server',
    'b:1',
    '--list',
  ]);
  assert.deepEqual(resolveTool('topics', ['--bootstrap-server', 'c:2'], 'b:1').args, [
    '--bootstrap-server',
    'c:2',
  ]);
  assert.deepEqual(resolveTool('kafka.Any', ['x'], 'b:1'), { classes: ['kafka.Any'], args: ['x'] });
  assert.throws(
    () => resolveTool('kafka-nothing', [], 'b:1'),
    /unknown tool "kafka-nothing"; known: kafka-acls/,
  );
});

test('users log in, and the limited one is held back', { skip, timeout: 300_000 }, async () => {
  const cluster = await startKafka({ authorizer: true });
  try {
    const topics = (listener, file, ...args) =>
      cluster.tool('kafka-topics', [
        '--bootstrap-server',
        cluster.listeners[listener],
        '--command-config',
        join(cluster.dir, 'clients', `${file}.properties`),
        ...args,
      ]);
    for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512']) {
      await topics('sasl_ssl', `admin-${mechanism}`, '--create', '--topic', mechanism);
    }
    assert.match((await topics('mtls', 'mtls', '--list')).stdout, /^scram-sha-512$/m);
    await topics('sasl_ssl', 'limited-scram-sha-512', '--create', '--topic', 'allowed-orders');
    await assert.rejects(
      topics('sasl_ssl', 'limited-plain', '--create', '--topic', 'orders'),
      /Authorization failed/,
    );

    const verify = await run('openssl', ['verify', '-CAfile', cluster.ca, cluster.clientCert]);
    assert.equal(verify.code, 0, verify.stderr);
    assert.notEqual(
      (await run('openssl', ['verify', '-CAfile', cluster.strangerCa, cluster.clientCert])).code,
      0,
    );
  } finally {
    await cluster.down();
  }
});
