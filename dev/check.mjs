// What needs no test run: formatting, lint, types, in both languages.
//
//   node dev/check.mjs          everything, as CI does
//   node dev/check.mjs --lint   the linters only
//   node dev/check.mjs --fix    formats, and applies the linters' safe fixes

import { Failure, main, run } from './lib/exec.mjs';
import { runBin } from './lib/node.mjs';
import { ensureNodeModules } from './lib/pnpm.mjs';

const biome = (...args) => runBin('@biomejs/biome', 'biome', args);
const tsc = (project) => runBin('typescript', 'tsc', ['-p', project, '--noEmit']);
const clippy = () =>
  run('cargo', ['clippy', '--workspace', '--all-targets', '--', '-D', 'warnings']);

await main(async () => {
  const [mode, ...rest] = process.argv.slice(2);
  if (rest.length > 0 || (mode !== undefined && mode !== '--lint' && mode !== '--fix')) {
    throw new Failure('usage: node dev/check.mjs [--lint | --fix]');
  }
  await ensureNodeModules();
  if (mode === '--fix') {
    await biome('check', '--write');
    await run('cargo', ['fmt', '--all']);
    return;
  }
  if (mode === '--lint') {
    await biome('lint', '--error-on-warnings');
    await clippy();
    return;
  }
  await biome('ci', '--error-on-warnings');
  await tsc('tsconfig.json');
  await tsc('tsconfig.build.json');
  await run('cargo', ['fmt', '--all', '--', '--check']);
  await clippy();
});
