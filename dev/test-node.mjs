// The TypeScript tests under every Node version that the package promises.
//
//   node dev/test-node.mjs                all of them
//   node dev/test-node.mjs 18 24          those lines
//
// Arguments after -- go to vitest.

import { build } from './build.mjs';
import { NODE_VERSIONS, nodeOfVersion } from './lib/cache.mjs';
import { stream } from './lib/child.mjs';
import { Failure, main, say } from './lib/exec.mjs';
import { binCommand } from './lib/node.mjs';
import { Tally } from './lib/tally.mjs';

await main(async () => {
  const args = process.argv.slice(2);
  const end = args.includes('--') ? args.indexOf('--') : args.length;
  const lines = args.slice(0, end);
  const wanted = (version) =>
    lines.length === 0 || lines.some((line) => version.startsWith(`${line}.`));
  const versions = NODE_VERSIONS.filter(wanted);
  if (versions.length === 0)
    throw new Failure(`no such Node here; there are ${NODE_VERSIONS.join(', ')}`);
  await build();
  const ends = [];
  for (const version of versions) {
    const node = await nodeOfVersion(version);
    say(`\n── vitest under Node ${version}`);
    const [, ...vitest] = binCommand('vitest', 'vitest', ['run', ...args.slice(end + 1)]);
    const tally = new Tally();
    const failure = await stream([node, ...vitest], { onLine: (line) => tally.line(line) });
    ends.push({ failure, text: `Node ${version}: ${tally}${failure ? `; ${failure}` : ''}` });
  }
  say(`\n${ends.map(({ text }) => text).join('\n')}`);
  if (ends.some(({ failure }) => failure)) process.exitCode = 1;
});
