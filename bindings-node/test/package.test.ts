import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(__dirname, '../..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const name: string = manifest.name;
const tool = (path: string) => join(root, 'node_modules', path);

/** A program that uses the package, in a folder that holds nothing else: no zod, no @types/node. */
let consumer: string;
let installed: string;

beforeAll(() => {
  if (!existsSync(join(root, 'dist/index.mjs'))) {
    throw new Error('dist/ is not built. Run: npm run build');
  }
  consumer = realpathSync(mkdtempSync(join(tmpdir(), 'i-event-bus-package-')));
  installed = join(consumer, 'node_modules', name);
  mkdirSync(installed, { recursive: true });
  for (const file of ['package.json', 'LICENSE', 'dist']) {
    cpSync(join(root, file), join(installed, file), { recursive: true });
  }
});

afterAll(() => rmSync(consumer, { recursive: true, force: true }));

function node(args: readonly string[]): string {
  try {
    return execFileSync(process.execPath, args, { cwd: consumer, encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`node ${args.join(' ')} failed:\n${stdout}${stderr}`);
  }
}

function program(file: string, text: string): string {
  writeFileSync(join(consumer, file), text);
  return file;
}

describe('the manifest', () => {
  it('runs nothing on install and depends on nothing', () => {
    for (const script of ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish']) {
      expect(manifest.scripts).not.toHaveProperty(script);
    }
    expect(manifest).not.toHaveProperty('dependencies');
    expect(manifest).not.toHaveProperty('packageManager');
    expect(JSON.stringify(manifest)).not.toContain('workspace:');
    expect(manifest.peerDependenciesMeta.zod.optional).toBe(true);
  });

  it('satisfies publint', async () => {
    const { messages } = await publint({ pkgDir: installed, pack: false, strict: true });
    expect(messages.map((message) => formatMessage(message, manifest))).toEqual([]);
  });

  it('resolves to the right types for Node and for bundlers', () => {
    const packed = join(consumer, 'packed');
    mkdirSync(packed);
    cpSync(installed, packed, { recursive: true, filter: (path) => !path.endsWith('.node') });
    execFileSync('npm', ['pack', '--silent', '--ignore-scripts'], {
      cwd: packed,
      shell: process.platform === 'win32',
      stdio: 'pipe',
    });
    const tarball = `${name.replace('@', '').replace('/', '-')}-${manifest.version}.tgz`;
    const attw = tool('@arethetypeswrong/cli/dist/index.js');
    const report = node([attw, join(packed, tarball), '--profile', 'node16', '--format', 'json']);
    expect(JSON.parse(report).analysis.problems).toEqual([]);
  });
});

describe('one implementation', () => {
  it('is what import and require give alike, for every entry', () => {
    const entries = Object.keys(manifest.exports)
      .filter((entry) => entry !== './package.json')
      .map((entry) => name + entry.slice(1));
    const file = program(
      'same.mjs',
      `import { createRequire } from 'node:module';
       const require = createRequire(import.meta.url);
       for (const entry of ${JSON.stringify(entries)}) {
         const [esm, cjs] = [await import(entry), require(entry)];
         const names = Object.keys(cjs).sort();
         if (names.length === 0) throw new Error(entry + ' exports nothing');
         if (names.join() !== Object.keys(esm).sort().join()) throw new Error(entry + ' differs');
         for (const name of names) if (esm[name] !== cjs[name]) throw new Error(name + ' is doubled');
       }
       console.log('same');`,
    );
    expect(node([file]).trim()).toBe('same');
  });

  it('recognises errors of a second copy', () => {
    const second = join(consumer, 'second', 'node_modules', name);
    cpSync(installed, second, { recursive: true });
    const file = program(
      'second/copies.cjs',
      `const { ConfigError, EventBusError, ClosedError } = require('${name}');
       const other = require('${installed.replaceAll('\\', '/')}');
       const error = new other.ConfigError('x');
       console.log(other.ConfigError === ConfigError, error instanceof ConfigError,
         error instanceof EventBusError, error instanceof ClosedError);`,
    );
    expect(node([file]).trim()).toBe('false true true false');
  });

  it('loads no zod', () => {
    const file = program(
      'loaded.cjs',
      `require('${name}'); console.log(Object.keys(require.cache).filter((f) => /zod[/\\\\]/.test(f)).length);`,
    );
    expect(node([file]).trim()).toBe('0');
  });
});

describe('the declarations compile without zod and @types/node', () => {
  const source = `
    import { InMemoryEventBus, ZodEventValidator, EventBusError, createInMemoryEventBus } from '${name}';
    import type { BaseEventPayload, ErrorCode, IDomainEvent, IEventHandler } from '${name}';

    interface OrderPlaced extends BaseEventPayload { eventType: 'order.placed'; total: number }
    const bus: InMemoryEventBus<OrderPlaced> = createInMemoryEventBus<OrderPlaced>();
    const handler: IEventHandler<OrderPlaced> = {
      async handle(event: IDomainEvent<OrderPlaced>) { const total: number = event.payload.total; void total; },
    };
    void bus.subscribe('order.placed', handler);
    const close: () => Promise<void> = () => bus[Symbol.asyncDispose]();
    void close();
    const validator = new ZodEventValidator<OrderPlaced>();
    validator.registerSchema('order.placed', { safeParse: () => ({ success: true }) });
    export function codeOf(error: unknown): ErrorCode | undefined {
      return error instanceof EventBusError ? error.code : undefined;
    }
    // @ts-expect-error the payload is typed
    void bus.publish({ eventId: 'e' });
  `;

  const scope = `
    export async function scoped(): Promise<void> {
      await using inner = createInMemoryEventBus<OrderPlaced>();
      await inner.connect();
    }
  `;

  it.each([
    ['commonjs', 'node16', 'consumer.cts', 'es2022', ''],
    ['ES modules', 'node16', 'consumer.mts', 'es2022', ''],
    ['a bundler', 'preserve', 'consumer.ts', 'es2022', ''],
    ['ES modules with await using', 'node16', 'using.mts', 'es2022,esnext.disposable', scope],
  ])('as %s', (_name, module, file, lib, more) => {
    program('package.json', '{ "private": true }');
    program(file, source + more);
    node([
      tool('typescript/bin/tsc'),
      ...['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false'],
      ...['--target', 'es2022', '--lib', lib, '--module', module],
      ...['--moduleResolution', module === 'preserve' ? 'bundler' : module, file],
    ]);
  });
});
