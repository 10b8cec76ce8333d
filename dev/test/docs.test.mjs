// The documents say what is true: their examples run, and what they list is what there is.
//
// A TypeScript block is a program of its own. One without imports gets what PRELUDE makes: the exports of the package, a
// connected bus and an event. `localhost:9092` stands for an embedded broker. A comment `// → text` is a line that the
// program must print, or its beginning, in this order. `ts no-run` is compiled only.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { build } from '../build.mjs';
import { root, run } from '../lib/exec.mjs';
import { runBin } from '../lib/node.mjs';

const require = createRequire(import.meta.url);
const PACKAGE = '@repo-packages/i_event-bus';
const DOCUMENTS = [
  'README.md',
  'README-kafka.md',
  'ARCHITECTURE.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'examples/docker/README.md',
  'examples/kubernetes/README.md',
];
// Below the root, so that the package finds itself by its name, as an installed one is found.
const WORK = join(root, 'target', 'docs');

const read = (path) => readFileSync(join(root, path), 'utf8');

/** The blocks of a document: language, flags, text, line. */
function blocks(path) {
  const found = [];
  let open;
  read(path)
    .split('\n')
    .forEach((line, index) => {
      const fence = /^\s*```(.*)$/.exec(line);
      if (fence === null) open?.lines.push(line);
      else if (open === undefined) {
        const [language, ...flags] = fence[1].trim().split(/\s+/);
        open = { path, language, flags, lines: [], line: index + 1 };
      } else {
        found.push({ ...open, text: open.lines.join('\n') });
        open = undefined;
      }
    });
  assert.equal(open, undefined, `${path}:${open?.line} is not closed`);
  return found;
}

/** What a block that has no imports begins with. What it declares itself is left out. */
function prelude(text) {
  const declared = (name) =>
    new RegExp(`\\b(const|let|class|using|interface) ${name}\\b`).test(text);
  const types = /export (?:type )?\{([^}]*)\}/g;
  const names = new Set();
  for (const [, list] of read('dist/index.d.ts').matchAll(types)) {
    for (const name of list.split(',')) names.add(name.replace(/\btype\b/, '').trim());
  }
  const used = [...names].filter((name) => name !== '' && new RegExp(`\\b${name}\\b`).test(text));
  const wanted = new Set([...used, 'BaseEventPayload', 'IDomainEvent', 'KafkaEventBus']);
  const lines = [`import { ${[...wanted].join(', ')} } from '${PACKAGE}';`];
  lines.push(
    'interface OrderPlaced extends BaseEventPayload { orderId: string; amount: number }',
    'const NOW = new Date();',
  );
  if (!declared('event')) {
    lines.push(
      `const event: IDomainEvent<OrderPlaced> = { eventId: '1', eventType: 'order.placed', aggregateId: 'order-42', occurredOn: NOW, version: 1, payload: { eventType: 'order.placed', timestamp: NOW, orderId: 'order-42', amount: 129.95 } };`,
    );
  }
  if (/\bbus\b/.test(text) && !declared('bus')) {
    lines.push(
      `const bus = new KafkaEventBus<OrderPlaced>({ clientId: 'docs', brokers: ['localhost:9092'], groupId: 'docs', logger: false });`,
      'await bus.connect();',
    );
  }
  return `${lines.join('\n')}\n`;
}

const programs = ['README.md', 'README-kafka.md']
  .flatMap(blocks)
  .filter(({ language }) => language === 'ts')
  .map((block) => ({
    ...block,
    name: `${block.path.replace('.md', '').toLowerCase()}-${block.line}`,
  }));

/** Runs a program against an embedded broker of its own and gives what it printed. */
async function execute(name) {
  const { startEmbeddedBroker } = require(join(root, 'dist/testing.js'));
  const broker = await startEmbeddedBroker({ topics: ['order.placed'], partitions: 1 });
  const file = join(WORK, `${name}.mjs`);
  const [address] = broker.brokers;
  writeFileSync(file, readFileSync(file, 'utf8').replaceAll('localhost:9092', address));
  const env = { ...process.env, KAFKA_BROKERS: address };
  const child = spawn(process.execPath, [file], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  const late = setTimeout(() => child.kill('SIGKILL'), 60_000);
  const [status, signal] = await new Promise((resolve) => {
    child.once('close', (...end) => resolve(end));
  });
  clearTimeout(late);
  await broker.stop();
  assert.deepEqual({ status, signal, stderr }, { status: 0, signal: null, stderr: '' }, stdout);
  // The bus writes its log to the console unless told otherwise.
  return stdout.split('\n').filter((line) => line !== '' && !line.startsWith('[event-bus] '));
}

describe('the examples', () => {
  before(
    async () => {
      await build();
      rmSync(WORK, { recursive: true, force: true });
      mkdirSync(WORK, { recursive: true });
      for (const { name, text } of programs) {
        const source = /^import /m.test(text) ? text : prelude(text) + text;
        // A program may well be one that only publishes: without the last line tsc would take it for a script.
        writeFileSync(join(WORK, `${name}.mts`), `${source}\nexport {};\n`);
      }
      const options = {
        // What a service may have, not what this project has.
        compilerOptions: {
          strict: true,
          target: 'ES2022',
          lib: ['ES2022'],
          types: ['node'],
          module: 'node16',
          moduleResolution: 'node16',
          skipLibCheck: true,
        },
        include: ['*.mts'],
      };
      writeFileSync(join(WORK, 'tsconfig.json'), JSON.stringify(options));
      await runBin('typescript', 'tsc', ['-p', join(WORK, 'tsconfig.json')]);
    },
    { timeout: 900_000 },
  );

  for (const { path, line, name, flags, text } of programs) {
    test(`the example at ${path}:${line}`, {
      skip: flags.includes('no-run') && 'compiled only',
    }, async () => {
      const printed = await execute(name);
      const promised = [...text.matchAll(/\/\/ → (.*)$/gm)].map(([, expected]) => expected.trim());
      assert.equal(printed.length, promised.length, `printed: ${printed.join(' | ')}`);
      promised.forEach((expected, at) => {
        assert.ok(printed[at].startsWith(expected), `printed "${printed[at]}", not "${expected}"`);
      });
    });
  }
});

test('the README has examples', () => {
  assert.ok(programs.length > 8);
  assert.ok(blocks('README.md').some(({ language }) => language === 'rust'));
  for (const path of DOCUMENTS) {
    for (const { language, line } of blocks(path)) {
      // rustdoc takes a block without a language for Rust.
      assert.notEqual(language, '', `${path}:${line} names no language`);
    }
  }
});

test('the README names every export, and no other', () => {
  const readme = read('README.md');
  const section = readme.slice(readme.indexOf('\n## API'), readme.indexOf('\n## Options'));
  const index = read('bindings-node/ts/index.ts');
  const exported = [...index.matchAll(/export (?:type )?\{([^}]*)\}/g)]
    .flatMap(([, names]) => names.split(','))
    .map((name) => name.replace(/\btype\b/, '').trim())
    .filter(Boolean);
  assert.ok(exported.length > 30, `${exported.length}`);
  for (const name of exported) {
    const row = require(join(root, 'dist/error.js'));
    const isErrorClass =
      typeof row[name] === 'function' && row.ERROR_TABLE.some((one) => one.class === name);
    const where = isErrorClass ? readme : section;
    assert.match(where, new RegExp(`\`${name}\\b`), `${name} is not explained`);
  }
  const listed = [...section.matchAll(/`([A-Z]\w+)(?:<T>)?`/g)].map(([, name]) => name);
  const testing = [
    ...read('bindings-node/ts/testing.ts').matchAll(/export (?:interface|async function) (\w+)/g),
  ];
  const known = new Set([...exported, ...testing.map(([, name]) => name)]);
  for (const name of listed) assert.ok(known.has(name), `${name} is no export`);
});

test('the README names every event of the log with its level, and no other', () => {
  const written = new Map();
  const note = (event, level) => written.set(event, (written.get(event) ?? new Set()).add(level));
  const below = (folder) =>
    readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      return entry.isDirectory() ? below(path) : [path];
    });
  for (const path of below('core/src').filter((file) => !/tests/.test(file))) {
    const [text] = read(path).split('#[cfg(test)]');
    for (const [, level, event] of text.matchAll(
      /LogRecord::new\(\s*(?:Level::)?(\w+),\s*"(\w+)"/g,
    )) {
      note(event, level.toLowerCase());
    }
    for (const [, event] of text.matchAll(/self\.rebalanced\(\s*"(\w+)"/g)) note(event, 'info');
  }
  for (const path of below('bindings-node/ts')) {
    const text = read(path);
    for (const [, level, event] of text.matchAll(/log\.write\(\s*'(\w+)',\s*'(\w+)'/g))
      note(event, level);
    for (const [, level, event] of text.matchAll(/report\(\s*'(\w+)',[^;]*?event: '(\w+)'/g))
      note(event, level);
  }
  const whole = read('README.md');
  const readme = whole.slice(whole.indexOf('\n### Logging'), whole.indexOf('\n### Security'));
  const rows = [...readme.matchAll(/^\| ((?:`[a-z_]+`(?:, )?)+) \| ([a-z–, ]+) \| /gm)];
  const listed = new Map();
  for (const [, names, level] of rows) {
    for (const [, name] of names.matchAll(/`(\w+)`/g)) listed.set(name, level);
  }
  assert.deepEqual([...listed.keys()].sort(), [...written.keys()].sort());
  for (const [event, levels] of written) {
    // A row with several levels is about an event whose level depends on what happened.
    if (!/[–,]/.test(listed.get(event))) assert.deepEqual([...levels], [listed.get(event)], event);
  }
});

test('every proof that ARCHITECTURE.md names is there', () => {
  const proofs = [
    ...read('ARCHITECTURE.md').matchAll(
      /`([\w./-]+\.(?:rs|ts|mjs|json))` › ([^<|\n]+?)(?=;|<br>| \||$)/gm,
    ),
  ];
  assert.ok(proofs.length >= 20, `${proofs.length} proofs`);
  for (const [, path, name] of proofs) {
    assert.ok(existsSync(join(root, path)), `${path} is not there`);
    const text = read(path);
    const wanted = path.endsWith('.rs') ? `fn ${name.replaceAll(' ', '_')}(` : name;
    assert.ok(text.includes(wanted), `${path} has no test "${name}"`);
  }
});

test('the messages that README-kafka.md explains are those that are printed', () => {
  // Texts of the sources without line breaks inside: Rust joins them at a backslash, biome splits them with a plus.
  const sources = ['core/src', 'bindings-node/ts'].flatMap(function below(folder) {
    return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? below(`${folder}/${entry.name}`) : [read(`${folder}/${entry.name}`)],
    );
  });
  const all = sources
    .join('\n')
    .replace(/\\\n\s*/g, '')
    .replace(/["']/g, "'");
  const guide = read('README-kafka.md');
  const section = guide.slice(guide.indexOf('\n## Troubleshooting'));
  const quoted = [...section.matchAll(/“([^”]+)”/g)].map(([, text]) => text);
  assert.ok(quoted.length >= 15, `${quoted.length} messages`);
  for (const text of quoted) {
    for (const part of text.split('…').map((one) => one.trim())) {
      assert.ok(
        part === '' || all.includes(part.replace(/["']/g, "'")),
        `nothing prints "${part}"`,
      );
    }
  }
});

test('links between the documents lead somewhere', () => {
  const anchorOf = (heading) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .trim()
      .replaceAll(' ', '-');
  const anchors = (path) =>
    new Set([...read(path).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading)));
  for (const path of DOCUMENTS) {
    for (const [, link] of read(path).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const [file, anchor] = link.split('#');
      const target = file === '' ? path : join(path, '..', file);
      assert.ok(existsSync(join(root, target)), `${path}: ${link}`);
      if (anchor !== undefined) assert.ok(anchors(target).has(anchor), `${path}: ${link}`);
    }
  }
});

test('the commands that the documents name are there', () => {
  const { scripts } = require(join(root, 'package.json'));
  for (const path of DOCUMENTS) {
    const text = read(path);
    for (const [, name] of text.matchAll(/npm run ([\w:-]+)/g))
      assert.ok(name in scripts, `${path}: npm run ${name}`);
    for (const [, file] of text.matchAll(/(?:^|[\s`(])(dev\/[\w./-]*\w)/gm)) {
      assert.ok(existsSync(join(root, file)), `${path}: ${file}`);
    }
  }
});

test('the manifests and the compose file parse', async (t) => {
  const script = `
import sys, yaml
for path in sys.argv[1:]:
    for one in yaml.safe_load_all(open(path)):
        assert isinstance(one, dict), path
`;
  const files = ['examples/docker/compose.yaml', 'examples/kubernetes/orders.yaml'];
  try {
    await run('python3', ['-c', 'import yaml']);
  } catch {
    t.skip('python3 has no yaml');
    return;
  }
  await run('python3', ['-c', script, ...files]);
});
