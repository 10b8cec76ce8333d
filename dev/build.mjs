// Builds dist/: the compiled TypeScript, its ESM entries, and the native addon for this platform.
//
//   node dev/build.mjs             what start and test use
//   node dev/build.mjs --release   the addon with link-time optimisation, as published
//   node dev/build.mjs --ts        only the TypeScript part
//
// What is up to date is left alone. The addon becomes dist/i-event-bus.<platform>-<arch>[-gnu|-musl].node.

import {
  existsSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { AS_JSON, artifacts, WORKSPACE } from './lib/cargo.mjs';
import { Failure, main, root, run, say } from './lib/exec.mjs';
import { packageJson, runBin } from './lib/node.mjs';
import { ensureNodeModules } from './lib/pnpm.mjs';
import { checkPrerequisites } from './lib/prerequisites.mjs';
import { digest, filesBelow, isFresh, writeStamp } from './lib/stamp.mjs';

const require = createRequire(import.meta.url);

/** The entries that package.json exports, e.g. './dist/index', without extension. */
function entries() {
  return Object.values(packageJson.exports)
    .map((conditions) => conditions.require?.default)
    .filter(Boolean)
    .map((file) => file.replace(/\.js$/, ''));
}

/** ESM entries hold no code of their own: one implementation, whichever way a program imports it. */
function writeEsmEntry(entry) {
  const cjs = join(root, `${entry}.js`);
  if (!existsSync(cjs)) {
    throw new Failure(
      `package.json exports ${entry}.js, but no source makes it. Add bindings-node/ts/${entry.replace('./dist/', '')}.ts or remove the export.`,
    );
  }
  const specifier = `./${entry.split('/').pop()}.js`;
  const names = Object.keys(require(cjs)).filter(
    (name) => name !== '__esModule' && name !== 'default',
  );
  writeFileSync(
    join(root, `${entry}.mjs`),
    `export { ${names.sort().join(', ')} } from '${specifier}';\n`,
  );
  writeFileSync(join(root, `${entry}.d.mts`), `export * from '${specifier}';\n`);
  return [`${entry}.mjs`, `${entry}.d.mts`];
}

async function buildTypeScript() {
  const sources = filesBelow('bindings-node/ts').filter((file) => file.endsWith('.ts'));
  const inputs = digest([
    ...sources,
    'tsconfig.json',
    'tsconfig.build.json',
    'package.json',
    'pnpm-lock.yaml',
    'dev/build.mjs',
  ]);
  if (isFresh('typescript', inputs)) return;
  say('compiling TypeScript');
  const listing = await runBin(
    'typescript',
    'tsc',
    ['-p', 'tsconfig.build.json', '--listEmittedFiles'],
    {
      capture: true,
    },
  ).catch((error) => {
    throw new Failure(
      `the TypeScript sources do not compile (${error.message}). Run: npm run check`,
    );
  });
  const emitted = listing
    .split('\n')
    .filter((line) => line.startsWith('TSFILE: '))
    .map((line) => line.slice('TSFILE: '.length).trim().slice(root.length));
  return { inputs, emitted };
}

/** Removes what sources that are gone have left behind. */
function removeStale(kept) {
  const keep = new Set(kept);
  for (const file of filesBelow('dist')) {
    if (!keep.has(file) && !file.endsWith('.node')) rmSync(join(root, file));
  }
}

/** Builds the addon's library and returns its path, as cargo names it. */
async function cargoBuild(release) {
  const args = ['build', ...WORKSPACE, ...(release ? ['--release'] : []), AS_JSON];
  const output = await run('cargo', args, { capture: true });
  const library = artifacts(output.split('\n'))
    .filter(({ target }) => target.name === 'i_event_bus_node')
    .flatMap(({ filenames }) => filenames)
    .find((file) => /\.(so|dylib|dll)$/.test(file));
  if (!library) throw new Failure('cargo built no shared library for i-event-bus-node');
  return library;
}

async function buildAddon(release) {
  checkPrerequisites();
  const { addonFileName } = require(join(root, 'dist/platform.js'));
  const addon = join(root, 'dist', addonFileName());
  if (!existsSync(addon))
    say('building the native addon; the first time takes some minutes (librdkafka and OpenSSL)');
  const library = await cargoBuild(release);
  const built = statSync(library);
  if (existsSync(addon)) {
    const present = statSync(addon);
    // Setting a time rounds it.
    const sameTime = Math.abs(present.mtimeMs - built.mtimeMs) < 2;
    if (present.size === built.size && sameTime) return;
  }
  await mkdir(dirname(addon), { recursive: true });
  // A running process may have the old file mapped: replace it, never write into it.
  const draft = `${addon}.${process.pid}`;
  await copyFile(library, draft);
  utimesSync(draft, built.mtime, built.mtime);
  renameSync(draft, addon);
  say(`copied the addon to dist/${addonFileName()} (${(built.size / 2 ** 20).toFixed(1)} MiB)`);
}

/**
 * @param {{ release?: boolean, addon?: boolean }} [options]
 */
export async function build({ release = false, addon = true } = {}) {
  await ensureNodeModules();
  const compiled = await buildTypeScript();
  if (addon) await buildAddon(release);
  if (!compiled) return;
  // Loading the entries needs the addon, so they come after it.
  const wrappers = entries().flatMap(writeEsmEntry);
  const outputs = [...compiled.emitted, ...wrappers.map((file) => file.replace(/^\.\//, ''))];
  removeStale(outputs);
  writeStamp('typescript', compiled.inputs, outputs);
}

if (pathToFileURL(realpathSync(process.argv[1])).href === import.meta.url) {
  const flags = process.argv.slice(2);
  const unknown = flags.filter((flag) => flag !== '--release' && flag !== '--ts');
  await main(async () => {
    if (unknown.length > 0)
      throw new Failure(`unknown option ${unknown[0]}; there are --release and --ts`);
    await build({ release: flags.includes('--release'), addon: !flags.includes('--ts') });
  });
}
