// Formatting, lint, types and licences, in both languages: what needs no test run.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cargoDeny } from './cache.mjs';
import { WORKSPACE } from './cargo.mjs';
import { root } from './exec.mjs';
import { binCommand } from './node.mjs';

const biome = (...args) => binCommand('@biomejs/biome', 'biome', args);
const tsc = (project) => binCommand('typescript', 'tsc', ['-p', project, '--noEmit']);

/**
 * @typedef {object} Check
 * @property {string} name
 * @property {boolean} [lint] whether it is one of the linters
 * @property {() => Promise<{ command: string[], env?: Record<string, string> } | { skip: string }>} plan
 */

/** @type {Check[]} */
export const CHECKS = [
  {
    name: 'cargo fmt',
    plan: async () => ({ command: ['cargo', 'fmt', '--all', '--', '--check'] }),
  },
  {
    name: 'biome',
    lint: true,
    plan: async () => ({ command: biome('ci', '--colors=off', '--error-on-warnings') }),
  },
  { name: 'tsc', plan: async () => ({ command: tsc('tsconfig.json') }) },
  {
    name: 'tsc of the example',
    // It imports the package by its name, as a program of somebody else does.
    plan: async () =>
      existsSync(join(root, 'dist/index.d.ts'))
        ? { command: tsc('examples/node/jsconfig.json') }
        : { skip: 'dist/ is not built: npm run build' },
  },
  { name: 'tsc of what is published', plan: async () => ({ command: tsc('tsconfig.build.json') }) },
  {
    name: 'clippy',
    lint: true,
    plan: async () => ({
      command: ['cargo', 'clippy', ...WORKSPACE, '--all-targets', '--', '-D', 'warnings'],
    }),
  },
  {
    name: 'rustdoc',
    plan: async () => ({
      command: ['cargo', 'doc', ...WORKSPACE, '--no-deps'],
      env: { RUSTDOCFLAGS: '-D warnings' },
    }),
  },
  {
    name: 'cargo deny',
    async plan() {
      const deny = await cargoDeny();
      if (deny.reason) return { skip: deny.reason };
      return { command: [deny.command, 'check', 'bans', 'licenses', 'sources'] };
    },
  },
];
