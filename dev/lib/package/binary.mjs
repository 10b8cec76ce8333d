// What a packed addon may need and hold.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const ALLOWED = ['libc', 'libm', 'libgcc_s', 'ld-linux'];

/**
 * The shared libraries that an ELF file names.
 *
 * @param {string} file
 * @returns {string[]}
 */
export function neededLibraries(file) {
  const dynamic = execFileSync('readelf', ['-d', '-W', file], { encoding: 'utf8' });
  return [...dynamic.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(([, name]) => name);
}

/** Those of `libraries` that a machine without further packages may lack. */
export function strangers(libraries) {
  return libraries.filter(
    (name) => !ALLOWED.some((known) => new RegExp(`^${known}[.-]`).test(name)),
  );
}

/** Traces of injected errors, which no artefact may hold: the feature's code names itself in every build of it. */
export function failpointTraces(file) {
  const text = readFileSync(file).toString('latin1');
  return [...new Set(text.match(/[\w.:-]*failpoint[\w.:-]*/gi) ?? [])];
}
