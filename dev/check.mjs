// What needs no test run: formatting, lint, types, licences, in both languages.
//
//   node dev/check.mjs          everything, as CI does
//   node dev/check.mjs --lint   the linters only
//   node dev/check.mjs --fix    formats, and applies the linters' safe fixes

import { CHECKS } from './lib/checks.mjs';
import { Failure, main, run, say } from './lib/exec.mjs';
import { runBin } from './lib/node.mjs';
import { ensureNodeModules } from './lib/pnpm.mjs';

await main(async () => {
  const [mode, ...rest] = process.argv.slice(2);
  if (rest.length > 0 || (mode !== undefined && mode !== '--lint' && mode !== '--fix')) {
    throw new Failure('usage: node dev/check.mjs [--lint | --fix]');
  }
  await ensureNodeModules();
  if (mode === '--fix') {
    await runBin('@biomejs/biome', 'biome', ['check', '--write']);
    await run('cargo', ['fmt', '--all']);
    return;
  }
  const skipped = [];
  for (const { name, lint, plan } of CHECKS) {
    if (mode === '--lint' && !lint) continue;
    const { command, env, skip } = await plan();
    if (skip) {
      skipped.push(`SKIPPED ${name}: ${skip}`);
      continue;
    }
    say(`── ${name}`);
    await run(command[0], command.slice(1), { env: { ...process.env, ...env } });
  }
  for (const line of skipped) say(line);
});
