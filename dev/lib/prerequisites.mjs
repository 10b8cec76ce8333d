// What must be on the machine before anything can be built; each with what to do about it.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, onPath, root } from './exec.mjs';

const DEBIAN = 'on Debian and Ubuntu: apt-get install build-essential perl bash';

const TOOLS = [
  ['cc', `a C compiler builds librdkafka and OpenSSL; ${DEBIAN}`],
  ['make', `it builds librdkafka and OpenSSL; ${DEBIAN}`],
  ['perl', `it configures OpenSSL; ${DEBIAN}`],
  ['bash', `it configures librdkafka; ${DEBIAN}`],
];

/** What OpenSSL's configuration loads; minimal images have a perl without them. */
const PERL_MODULES = ['FindBin', 'IPC::Cmd', 'File::Compare', 'File::Copy'];

/** What is missing, a line each. */
export function missingPrerequisites() {
  const missing = [rustProblem()];
  // Other ways of building the C libraries apply there.
  if (process.platform !== 'win32') {
    for (const [tool, why] of TOOLS) {
      if (!onPath(tool)) missing.push(`${tool} is not on the PATH: ${why}`);
    }
    if (onPath('perl')) missing.push(perlProblem());
  }
  return missing.filter((line) => line !== undefined);
}

/** @throws {Failure} that names everything missing */
export function checkPrerequisites() {
  const missing = missingPrerequisites();
  if (missing.length === 0) return;
  throw new Failure(
    `the native addon cannot be built here:\n${missing.map((line) => `  - ${line}`).join('\n')}`,
  );
}

function rustProblem() {
  const manifest = readFileSync(join(root, 'Cargo.toml'), 'utf8');
  const wanted = /^rust-version = "(\d+)\.(\d+)"/m.exec(manifest);
  const install = 'Rust comes from https://rustup.rs';
  for (const tool of ['cargo', 'rustc']) {
    if (!onPath(tool)) return `${tool} is not on the PATH: ${install}`;
  }
  const { status, stdout, stderr } = spawnSync('rustc', ['--version'], {
    cwd: root,
    encoding: 'utf8',
  });
  const have = /^rustc (\d+)\.(\d+)/.exec(stdout ?? '');
  if (status !== 0 || have === null) {
    return `rustc --version fails: ${(stderr ?? '').trim() || 'it says nothing'}; ${install}`;
  }
  const [major, minor] = [Number(have[1]), Number(have[2])];
  const [wantedMajor, wantedMinor] = [Number(wanted[1]), Number(wanted[2])];
  const old = major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
  if (!old) return undefined;
  return `Rust ${major}.${minor} is too old, ${wantedMajor}.${wantedMinor} is needed: rustup update stable`;
}

function perlProblem() {
  const args = [...PERL_MODULES.map((module) => `-M${module}`), '-e', '1'];
  const { status, stderr } = spawnSync('perl', args, { encoding: 'utf8' });
  if (status === 0) return undefined;
  const module = /Can't locate (\S+?)\.pm/.exec(stderr ?? '')?.[1]?.replaceAll('/', '::');
  return `perl lacks ${module ? `its module ${module}` : 'standard modules'}, which OpenSSL's configuration needs; on Debian and Ubuntu: apt-get install perl; on Fedora: dnf install perl-core`;
}
