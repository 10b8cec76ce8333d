// The Node that runs the scripts, and the tools of node_modules run by it.

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Failure, root, run } from './exec.mjs';

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** The package manifest of this repository. */
export const packageJson = manifest;

/** Refuses a Node below the one that package.json names. */
export function checkNode() {
  const wanted = manifest.engines.node.replace(/^>=/, '').split('.').map(Number);
  const have = process.versions.node.split('.').map(Number);
  const old = have[0] < wanted[0] || (have[0] === wanted[0] && have[1] < (wanted[1] ?? 0));
  if (old)
    throw new Failure(
      `Node ${process.versions.node} is too old: ${manifest.engines.node} is needed.`,
    );
}

/**
 * The command that runs the program of a development dependency with this very Node.
 *
 * @param {string} dependency the package, e.g. 'typescript'
 * @param {string} bin the program, e.g. 'tsc'
 * @param {readonly string[]} args
 * @returns {string[]}
 */
export function binCommand(dependency, bin, args) {
  const path = createRequire(join(root, 'package.json'))
    .resolve.paths(dependency)
    ?.map((folder) => join(folder, dependency, 'package.json'))
    .find((file) => existsSync(file));
  if (!path) throw new Failure(`${dependency} is not installed. Run: npm run build`);
  const { bin: bins } = JSON.parse(readFileSync(path, 'utf8'));
  const program = typeof bins === 'string' ? bins : bins?.[bin];
  if (!program) throw new Failure(`${dependency} has no program ${bin}`);
  return [process.execPath, join(dirname(path), program), ...args];
}

/**
 * Runs the program of a development dependency with this very Node.
 *
 * @param {string} dependency the package, e.g. 'typescript'
 * @param {string} bin the program, e.g. 'tsc'
 * @param {readonly string[]} args
 * @param {Parameters<typeof run>[2]} [options]
 */
export function runBin(dependency, bin, args, options) {
  const [command, ...rest] = binCommand(dependency, bin, args);
  return run(command, rest, options);
}

/** 'glibc' where that is the C library, else '': some packages hold one binary for each. */
export function libc() {
  return process.report.getReport().header.glibcVersionRuntime ? 'glibc' : '';
}
