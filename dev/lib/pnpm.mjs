// The one place that names a pnpm version. 10 is the last line that runs on Node 18.

import { Failure, onPath, run, say } from './exec.mjs';
import { checkNode, libc } from './node.mjs';
import { digest, isFresh, writeStamp } from './stamp.mjs';

const PNPM = 'pnpm@10.34.8';

/**
 * Runs the pinned pnpm. `npm exec` fetches it once; a pnpm or corepack of the machine is never asked.
 *
 * @param {readonly string[]} args
 */
export async function pnpm(args) {
  if (!onPath('npm'))
    throw new Failure('npm is not on the PATH. It comes with Node: https://nodejs.org');
  await run('npm', ['exec', '--yes', PNPM, '--', ...args], {
    hint: 'The packages come from the npm registry: is it reachable (npm ping)?',
  });
}

/** Installs node_modules as the lockfile says, unless that has been done for this lockfile and platform. */
export async function ensureNodeModules() {
  checkNode();
  const inputs = digest(
    ['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml'],
    [PNPM, process.platform, process.arch, libc()],
  );
  const outputs = ['node_modules/.modules.yaml', 'node_modules/typescript/package.json'];
  if (isFresh('install', inputs)) return;
  say('installing node_modules');
  // A node_modules that another package manager made is replaced without a question.
  await pnpm(['install', '--frozen-lockfile', '--config.confirmModulesPurge=false']);
  writeStamp('install', inputs, outputs);
}
