// The folders that are published: the package itself, and one package for each platform's addon.

import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Failure, onPath, root, run } from '../exec.mjs';
import { packageJson } from '../node.mjs';

const ADDON = /^i-event-bus\.(([a-z0-9]+)-([a-z0-9]+)(?:-(gnu|musl))?)\.node$/;

/** What npm calls the C libraries. */
const LIBC = { gnu: 'glibc', musl: 'musl' };

/**
 * The addons in dist/, which is one for this platform and those that were cross-built.
 *
 * @returns {{ file: string, platform: string, os: string, cpu: string, libc?: string }[]}
 */
export function addons() {
  return readdirSync(join(root, 'dist'))
    .map((file) => ({ file, match: ADDON.exec(file) }))
    .filter(({ match }) => match)
    .map(({ file, match: [, platform, os, cpu, libc] }) => ({
      file: join(root, 'dist', file),
      platform,
      os,
      cpu,
      libc: LIBC[libc],
    }));
}

const platformPackage = (platform) => `${packageJson.name}-${platform}`;

/** The manifest of the published package: what is only for this repository is gone, the platforms are named. */
export function mainManifest(platforms) {
  const { scripts, devDependencies, ...manifest } = packageJson;
  return {
    ...manifest,
    optionalDependencies: Object.fromEntries(
      platforms.map((platform) => [platformPackage(platform), packageJson.version]),
    ),
  };
}

export function platformManifest({ file, platform, os, cpu, libc }) {
  const { version, license, repository, engines } = packageJson;
  return {
    name: platformPackage(platform),
    version,
    description: `The native addon of ${packageJson.name} for ${platform}.`,
    license,
    repository,
    main: basename(file),
    files: [basename(file)],
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
    engines,
  };
}

function stage(folder, manifest, entries) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  for (const entry of entries) {
    cpSync(join(root, entry), join(folder, entry), {
      recursive: true,
      filter: (path) => !path.endsWith('.node'),
    });
  }
}

/** The file name that `npm pack` gives a package. */
const tarballOf = ({ name, version }) =>
  `${name.replace('@', '').replace('/', '-')}-${version}.tgz`;

/**
 * Stages and packs everything there is an addon for.
 *
 * @param {string} out an empty or new folder; the packages are staged in it and the tarballs lie beside them
 * @param {{ draft?: boolean }} [options] a draft may lack documents that the manifest names, and its addons are stripped of
 *   their debug information, which optimised builds for publishing do not have
 * @returns {Promise<{ tarballs: string[], missing: string[] }>} the main package's tarball is the first
 */
export async function packAll(out, { draft = false } = {}) {
  const found = addons();
  if (found.length === 0) throw new Failure('dist/ holds no addon. Run: npm run build');
  const missing = packageJson.files.filter((entry) => !existsSync(join(root, entry)));
  if (missing.length > 0 && !draft)
    throw new Failure(
      `package.json publishes ${missing.join(', ')}, which the project does not have`,
    );
  const packages = [];
  const add = (name, manifest, entries) => {
    const folder = join(out, name);
    stage(folder, manifest, entries);
    packages.push({ folder, tarball: join(out, tarballOf(manifest)) });
    return folder;
  };
  const entries = packageJson.files.filter((entry) => !missing.includes(entry));
  add('main', mainManifest(found.map(({ platform }) => platform)), entries);
  for (const addon of found) {
    const folder = add(addon.platform, platformManifest(addon), ['LICENSE']);
    const copy = join(folder, basename(addon.file));
    copyFileSync(addon.file, copy);
    if (draft && addon.os === 'linux' && onPath('strip'))
      await run('strip', ['--strip-debug', copy]);
  }
  for (const { folder, tarball } of packages) {
    await run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', out], {
      cwd: folder,
      capture: true,
    });
    if (!existsSync(tarball)) throw new Failure(`npm pack made no ${tarball}`);
  }
  return { tarballs: packages.map(({ tarball }) => tarball), missing };
}
