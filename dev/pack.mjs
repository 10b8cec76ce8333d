// Makes what is published: the package without an addon, and a package for each addon in dist/. Then it installs
// both in an empty folder and tries them under every Node version that is promised.
//
//   node dev/pack.mjs          builds with link-time optimisation; the tarballs are put in dist-packages/
//   node dev/pack.mjs --dev    with the addon that start and test use, and whatever documents there are
//
// Publish the platform packages first: npm publish --access public dist-packages/*.tgz

import { mkdirSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from './build.mjs';
import { Failure, main, root, run, say } from './lib/exec.mjs';
import { packAll } from './lib/package/stage.mjs';

await main(async () => {
  const [mode, ...rest] = process.argv.slice(2);
  if (rest.length > 0 || (mode !== undefined && mode !== '--dev'))
    throw new Failure('usage: node dev/pack.mjs [--dev]');
  const release = mode === undefined;
  await build({ release });
  const out = join(root, 'dist-packages');
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out);
  const { tarballs, missing } = await packAll(out, { draft: !release });
  await run(process.execPath, ['--test', '--test-reporter=spec', 'dev/test/package.test.mjs'], {
    env: { ...process.env, EVBUS_TEST_PACKAGES: tarballs.join('\n') },
  });
  if (missing.length > 0)
    say(`NOT IN THE PACKAGE, because the project lacks them: ${missing.join(', ')}`);
  for (const tarball of tarballs)
    say(
      `dist-packages/${basename(tarball)} (${(statSync(tarball).size / 2 ** 20).toFixed(1)} MiB)`,
    );
});
