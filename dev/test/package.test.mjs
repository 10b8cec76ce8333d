// The packages as a stranger gets them: packed, installed without scripts and without a network, tried under every
// Node version that is promised. EVBUS_TEST_PACKAGES names tarballs, one a line; without it they are packed here.
//
// Run with: node --test dev/test/package.test.mjs
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { NODE_VERSIONS, nodeOfVersion } from '../lib/cache.mjs';
import { root } from '../lib/exec.mjs';
import { packageJson } from '../lib/node.mjs';
import { failpointTraces, neededLibraries, strangers } from '../lib/package/binary.mjs';
import { mainManifest, packAll, platformManifest } from '../lib/package/stage.mjs';

const name = packageJson.name;
const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'i-event-bus-packed-')));
const consumer = join(scratch, 'consumer');
const installed = join(consumer, 'node_modules', ...name.split('/'));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** @returns {Promise<{ status: number | null, signal: string | null, stdout: string, stderr: string }>} */
function execute(command, args, timeout = 60_000) {
  return new Promise((resolve) => {
    const options = { cwd: consumer, encoding: 'utf8', timeout, killSignal: 'SIGKILL' };
    const child = execFile(command, args, options, (_error, stdout, stderr) =>
      resolve({ status: child.exitCode, signal: child.signalCode, stdout, stderr }),
    );
  });
}

async function succeed(command, args, timeout) {
  const { status, signal, stdout, stderr } = await execute(command, args, timeout);
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${status ?? signal}\n${stdout}${stderr}`);
  return stdout;
}

/** Of the platform of this machine. */
let addon;

before(async () => {
  const given = process.env.EVBUS_TEST_PACKAGES?.split('\n');
  const tarballs = given ?? (await packAll(join(scratch, 'out'), { draft: true })).tarballs;
  mkdirSync(consumer, { recursive: true });
  writeFileSync(join(consumer, 'package.json'), '{ "private": true }');
  const flags = ['--ignore-scripts', '--offline', '--no-audit', '--no-fund', '--loglevel=error'];
  // Packages of other platforms are left out by npm, as their manifests say.
  await succeed('npm', ['install', ...flags, ...tarballs], 120_000);
  const scope = join(installed, '..');
  const [folder, ...others] = readdirSync(scope).filter(
    (entry) => join(scope, entry) !== installed,
  );
  assert.ok(folder, 'npm installed no package with an addon');
  assert.deepEqual(others, [], 'npm installed addons of several platforms');
  const { main } = JSON.parse(readFileSync(join(scope, folder, 'package.json'), 'utf8'));
  addon = join(scope, folder, main);
});

describe('what is in the packages', () => {
  test('the manifest is for users of the package, not for its developers', () => {
    const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
    assert.deepEqual(
      Object.keys(manifest).filter((key) => /^(scripts|devDependencies|dependencies)$/.test(key)),
      [],
    );
    const platforms = Object.entries(manifest.optionalDependencies);
    assert.ok(platforms.length > 0);
    for (const [platform, version] of platforms) {
      assert.ok(platform.startsWith(`${name}-`), platform);
      assert.equal(version, manifest.version);
    }
  });

  test('the main package holds no addon and no source', () => {
    const files = readdirSync(installed, { recursive: true });
    assert.ok(files.includes(join('dist', 'index.mjs')));
    const strange = files.filter((file) => /\.(node|rs|map)$|(?<!\.d)\.ts$/.test(file));
    assert.deepEqual(strange, []);
  });

  test('a platform package says where it is for', () => {
    const musl = {
      file: 'x.node',
      platform: 'linux-x64-musl',
      os: 'linux',
      cpu: 'x64',
      libc: 'musl',
    };
    const { os, cpu, libc, files } = platformManifest(musl);
    assert.deepEqual(
      { os, cpu, libc, files },
      { os: ['linux'], cpu: ['x64'], libc: ['musl'], files: ['x.node'] },
    );
    const darwin = { file: 'x.node', platform: 'darwin-arm64', os: 'darwin', cpu: 'arm64' };
    assert.equal('libc' in platformManifest(darwin), false);
    assert.deepEqual(mainManifest(['darwin-arm64']).optionalDependencies, {
      [`${name}-darwin-arm64`]: packageJson.version,
    });
  });

  test('the addon needs only what every machine has', {
    skip: process.platform !== 'linux' && 'only the libraries of Linux are known',
  }, () => {
    const needed = neededLibraries(addon);
    assert.ok(needed.length > 0);
    assert.deepEqual(strangers(needed), []);
    assert.deepEqual(strangers(['libc.so.6', 'libcurl.so.4', 'libcrypto.so.3']), [
      'libcurl.so.4',
      'libcrypto.so.3',
    ]);
  });

  test('no failpoint is in it', () => {
    assert.deepEqual(failpointTraces(addon), []);
    const file = join(scratch, 'marked');
    writeFileSync(file, 'x\0evbus_failpoint_set\0y');
    assert.deepEqual(failpointTraces(file), ['evbus_failpoint_set']);
  });
});

test('its types compile in a program that imports and in one that requires', async () => {
  const text = `
    import { createKafkaEventBus, type BaseEventPayload, type IEventBus } from '${name}';
    import { startEmbeddedBroker } from '${name}/testing';
    interface OrderPlaced extends BaseEventPayload { eventType: 'order.placed'; total: number }
    export async function open(): Promise<IEventBus<OrderPlaced>> {
      const { brokers } = await startEmbeddedBroker({ topics: ['order.placed'] });
      return createKafkaEventBus<OrderPlaced>({ clientId: 'c', groupId: 'g', brokers });
    }
    export async function wrong(bus: IEventBus<OrderPlaced>): Promise<void> {
      // @ts-expect-error an event has more than its id
      await bus.publish({ eventId: '1' });
    }
  `;
  for (const file of ['types.mts', 'types.cts']) writeFileSync(join(consumer, file), text);
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const strict = ['--noEmit', '--strict', '--skipLibCheck', 'false', '--target', 'es2022'];
  await succeed(process.execPath, [tsc, ...strict, '--module', 'node16', 'types.mts', 'types.cts']);
});

const BODY = `
  const make = (brokers, more) => new KafkaEventBus({ clientId: 'smoke', brokers, logger: false, ...more });
  const event = (eventId) => ({
    eventId, eventType: 'order.placed', occurredOn: new Date(), aggregateId: 'order-1', version: 1,
    payload: { eventType: 'order.placed', timestamp: new Date(), eventId },
  });
  async function roundTrip() {
    const broker = await startEmbeddedBroker({ topics: ['order.placed'], partitions: 2 });
    const bus = make(broker.brokers, { groupId: 'smoke' });
    const seen = [];
    let all;
    const handled = new Promise((resolve) => { all = resolve; });
    await bus.subscribe('order.placed', { handle: async ({ eventId, occurredOn }) => {
      if (!(occurredOn instanceof Date)) throw new Error('occurredOn is no date');
      if (seen.push(eventId) === 100) all();
    } });
    await bus.connect();
    await Promise.all(Array.from({ length: 100 }, (_, n) => bus.publish(event(String(n)))));
    await handled;
    await bus.disconnect();
    await broker.stop();
    console.log(process.versions.node, seen.join() === Array.from({ length: 100 }, (_, n) => n).join());
  }
  async function forgetful() {
    const bus = make(['memory:smoke']);
    await bus.connect();
    await bus.publish(event('1'));
    console.log('published');
  }
  async function leaving() {
    const bus = make(['memory:smoke'], { groupId: 'smoke' });
    await bus.subscribe('order.placed', { handle: async () => process.exit(7) });
    await bus.connect();
    await bus.publish(event('1'));
  }
  ({ roundTrip, forgetful, leaving })[process.argv[2]]();
`;

for (const version of NODE_VERSIONS) {
  describe(`under Node ${version}`, { concurrency: true }, () => {
    let node;
    before(async () => {
      node = await nodeOfVersion(version);
      const imports = `{ KafkaEventBus }`;
      writeFileSync(
        join(consumer, 'smoke.mjs'),
        `import ${imports} from '${name}';\nimport { startEmbeddedBroker } from '${name}/testing';\n${BODY}`,
      );
      writeFileSync(
        join(consumer, 'smoke.cjs'),
        `const ${imports} = require('${name}');\nconst { startEmbeddedBroker } = require('${name}/testing');\n${BODY}`,
      );
    });

    for (const file of ['smoke.mjs', 'smoke.cjs']) {
      test(`${file}: events go through the embedded broker, in order`, async () => {
        assert.equal(await succeed(node, [file, 'roundTrip']), `${version} true\n`);
      });
    }

    test('a program that forgets to disconnect ends by itself', async () => {
      assert.equal(await succeed(node, ['smoke.mjs', 'forgetful']), 'published\n');
    });

    test('process.exit() in a handler ends it with that status', async () => {
      const { status, signal, stderr } = await execute(node, ['smoke.cjs', 'leaving']);
      assert.deepEqual({ status, signal, stderr }, { status: 7, signal: null, stderr: '' });
    });
  });
}
