// npm start and the order demo behind it, on the embedded broker and on a real Kafka; the quickstart of the crate.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Ledger } from '../../examples/node/tracking/Ledger.mjs';
import { build } from '../build.mjs';
import { root } from '../lib/exec.mjs';
import { javaAvailable, startKafka } from '../lib/kafka/cluster.mjs';
import { binCommand } from '../lib/node.mjs';

const java = javaAvailable();
const skip = !java.ok && `skipped: ${java.reason}`;
if (skip) console.error(`NO REAL KAFKA HERE, ${skip}`);

const START = join(root, 'dev/start.mjs');
const MAIN = join(root, 'examples/node/main.mjs');
const DEADLINE_MS = 120_000;
const BUILD_MS = 900_000;

const scratch = mkdtempSync(join(tmpdir(), 'evbus-start-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
before(() => build(), { timeout: BUILD_MS });

/**
 * Runs a command to its end.
 *
 * @param {string[]} command
 * @param {{ env?: Record<string, string>, onOutput?: (stdout: string, child: import('node:child_process').ChildProcess) => void, deadlineMs?: number }} [options]
 */
function run([program, ...args], { env = {}, onOutput = () => {}, deadlineMs = DEADLINE_MS } = {}) {
  return new Promise((resolve, reject) => {
    const { KAFKA_BROKERS: _, ...inherited } = process.env;
    const child = spawn(program, args, {
      cwd: root,
      env: { ...inherited, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs);
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) {
      child[name].setEncoding('utf8').on('data', (text) => {
        output[name] += text;
        if (name === 'stdout') onOutput(output.stdout, child);
      });
    }
    child.once('error', reject);
    child.once('close', (status, signal) => {
      clearTimeout(timer);
      resolve({ status, signal, ...output });
    });
  });
}

const demo = (args, options) => run([process.execPath, MAIN, ...args], options);
const start = (args, options) => run([process.execPath, START, ...args], options);

/** Published and handled per event type, as the summary says. */
function counts(stdout) {
  const rows = stdout.matchAll(/^ {2}(\w+\.\w+) +([\d,]+) +([\d,]+) +([\d,]+) /gm);
  return Object.fromEntries(Array.from(rows, ([, type, ...numbers]) => [type, numbers]));
}

test('npm start builds, runs the demo and ends well', { timeout: DEADLINE_MS }, async () => {
  const { status, stdout, stderr } = await start(['--events', '600', '--seconds', '2']);
  assert.equal(status, 0, stdout + stderr);
  const all = ['200', '200', '0'];
  assert.deepEqual(counts(stdout), {
    'order.placed': all,
    'payment.received': all,
    'order.shipped': all,
  });
  assert.match(stdout, /^Order demo on the embedded broker at 127\.0\.0\.1:\d+$/m);
  assert.match(
    stdout,
    /^ +\d\.\d s · published \d+ · handled \d+ · in flight \d+ · .* p50 .* p99 /m,
  );
  assert.match(stdout, /✔ All 600 events of 200 orders arrived/);
});

test('a handler that swallows events makes it fail', { timeout: DEADLINE_MS }, async () => {
  const args = ['--events', '300', '--seconds', '0', '--lose', '10', '--patience', '1'];
  const { status, stdout } = await demo(args);
  assert.equal(status, 1, stdout);
  assert.match(stdout, /✘ FAILED: 10 of 100 orders are not complete\./);
  assert.match(stdout, /order [0-9a-f]+-\d+: order\.shipped was never published/);
  assert.match(stdout, /and 5 more/);
  assert.deepEqual(counts(stdout)['order.shipped'], ['90', '90', '0']);
});

test('Ctrl+C ends it in order', { timeout: DEADLINE_MS }, async () => {
  let told = false;
  const { status, signal, stdout } = await start(['--events', '60000', '--seconds', '60'], {
    onOutput(soFar, child) {
      if (told || !/handled [1-9]/.test(soFar)) return;
      told = true;
      child.kill('SIGINT');
    },
  });
  assert.deepEqual({ status, signal }, { status: 130, signal: null }, stdout);
  assert.match(stdout, /Stopped: [\d,]+ of 20,000 orders were shipped\./);
});

test('a Kafka that is not there is named', { timeout: DEADLINE_MS }, async (t) => {
  // A port that is taken and answers nothing: nobody else can open it meanwhile.
  const silent = createServer().listen(0, '127.0.0.1');
  t.after(() => silent.close());
  await new Promise((resolve) => silent.once('listening', resolve));
  const address = `127.0.0.1:${silent.address().port}`;
  const { status, stdout, stderr } = await demo([], { env: { KAFKA_BROKERS: address } });
  assert.equal(status, 1, stdout + stderr);
  assert.match(stdout, new RegExp(`Kafka at ${address}`));
  assert.match(stderr, /^error: no Kafka broker answered/m);
});

test('it runs on a real Kafka, and again on what it left', {
  skip,
  timeout: 600_000,
}, async (t) => {
  const kafka = await startKafka();
  t.after(() => kafka.down());
  const env = { KAFKA_BROKERS: kafka.bootstrap };
  for (const earlier of [/times are/, /events of earlier runs 300/]) {
    const { status, stdout, stderr } = await demo(['--events', '300', '--seconds', '1'], { env });
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /✔ All 300 events of 100 orders arrived/);
    assert.match(stdout, earlier);
  }
});

test('wrong options are refused before anything is built', { timeout: DEADLINE_MS }, async () => {
  const env = { PATH: scratch };
  for (const args of [
    ['--events', 'many'],
    ['--events', '1.5'],
    ['--seconds', '-1'],
    ['--speed'],
  ]) {
    const { status, stderr } = await start(args, { env });
    assert.equal(status, 2, `${args}: ${stderr}`);
    assert.match(stderr, /^error: .*--(events|seconds|speed)/m);
  }
  const help = await start(['--help'], { env });
  assert.equal(help.status, 0);
  assert.match(help.stdout, /--events N/);
});

test('what is missing on the machine is named, each with its source', {
  timeout: DEADLINE_MS,
}, async () => {
  const nothing = await start([], { env: { PATH: scratch } });
  assert.equal(nothing.status, 1);
  assert.match(nothing.stderr, /cargo is not on the PATH: Rust comes from https:\/\/rustup\.rs/);
  for (const tool of ['cc', 'make', 'perl', 'bash']) {
    assert.match(nothing.stderr, new RegExp(`- ${tool} is not on the PATH: .*apt-get install`));
  }

  const programs = {
    cargo: 'exit 0',
    rustc: 'echo "rustc 1.70.0 (90c541806 2023-05-31)"',
    perl: 'echo "Can\'t locate IPC/Cmd.pm in @INC" >&2; exit 2',
  };
  const old = mkdtempSync(join(scratch, 'old-'));
  for (const [name, body] of Object.entries(programs)) {
    writeFileSync(join(old, name), `#!/bin/sh\n${body}\n`);
    chmodSync(join(old, name), 0o755);
  }
  const { status, stderr } = await start([], { env: { PATH: old } });
  assert.equal(status, 1);
  assert.match(stderr, /Rust 1\.70 is too old, 1\.\d+ is needed: rustup update/);
  assert.match(stderr, /perl lacks its module IPC::Cmd/);
});

test('the ledger tells complete, missing, repeated and contradictory events apart', () => {
  const ledger = new Ledger('run', ['a', 'b']);
  const event = (eventType, aggregateId, eventId = `${eventType}-${aggregateId}`) => ({
    eventType,
    aggregateId,
    eventId,
  });
  const pass = (one) => {
    ledger.publishing(one);
    ledger.handled(one);
    ledger.stored(one);
  };
  assert.equal(ledger.isOfThisRun(event('a', 'other-1')), false);
  assert.equal(ledger.isOfThisRun(event('a', 'run-1')), true);

  pass(event('a', 'run-1'));
  assert.deepEqual(ledger.missing(), ['order run-1: b was never published']);
  ledger.publishing(event('b', 'run-1'));
  assert.deepEqual(ledger.missing(), ['order run-1: b (b-run-1) was not acknowledged']);
  ledger.stored(event('b', 'run-1'));
  assert.deepEqual(ledger.missing(), ['order run-1: b (b-run-1) was stored and never handled']);
  ledger.handled(event('a', 'run-1'));
  assert.equal(ledger.accounts.get('a').duplicates, 1);
  ledger.handled(event('b', 'run-1'));
  assert.deepEqual([ledger.missing(), ledger.complete, ledger.open], [[], 1, 0]);
  ledger.handled(event('b', 'run-1'));
  assert.equal(ledger.accounts.get('b').duplicates, 1);
  assert.equal(ledger.contradictions, 0);

  pass(event('a', 'run-2'));
  ledger.publishing(event('a', 'run-2', 'another'));
  ledger.handled(event('a', 'run-2', 'a third'));
  ledger.handled(event('a', 'run-3'));
  assert.equal(ledger.contradictions, 3);
  const { published, handled, inFlight } = ledger.accounts.get('a');
  assert.deepEqual({ published, handled, inFlight }, { published: 2, handled: 2, inFlight: 0 });
});

test('the types in the comments of the demo are right', { timeout: DEADLINE_MS }, async () => {
  const { status, stdout } = await run(
    binCommand('typescript', 'tsc', ['-p', 'examples/node/jsconfig.json']),
  );
  assert.equal(status, 0, stdout);
});

test('the quickstart of the crate runs', { timeout: BUILD_MS }, async () => {
  const command = ['cargo', 'run', '--quiet', '--example', 'quickstart'];
  const { status, stdout, stderr } = await run(command, { deadlineMs: BUILD_MS });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /^100 orders .* published, 100 .* handled\nended in order: true\n$/);
});
