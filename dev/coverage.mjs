// Line coverage of the Rust sources, from whatever ran them: cargo's tests, and the addon inside vitest.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { Failure, onPath, root } from './lib/exec.mjs';

/** In percent of lines, for each language; vitest.config.ts holds the one of TypeScript. */
const LEAST = 90;
const WORST = 15;

const SOURCES = /^(core|bindings-node|bindings-c)\/src\//;
/** Compiled into tests only. */
const TESTS = /\/(tests|model|throughput)(\.rs$|\/)/;

/** The paths of llvm-profdata and llvm-cov that can read what this rustc writes. */
function llvmTools() {
  const text = execFileSync('rustc', ['-vV'], { encoding: 'utf8' });
  const [, host] = /^host: (.+)$/m.exec(text);
  const [, llvm] = /^LLVM version: (\d+)/m.exec(text);
  const sysroot = execFileSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).trim();
  return ['llvm-profdata', 'llvm-cov'].map((tool) => {
    const bundled = join(sysroot, 'lib', 'rustlib', host, 'bin', tool);
    if (existsSync(bundled)) return bundled;
    if (onPath(`${tool}-${llvm}`)) return `${tool}-${llvm}`;
    throw new Failure(
      `the coverage of Rust needs ${tool} of LLVM ${llvm}, as rustc has it.\n` +
        `Install it with: rustup component add llvm-tools, or on Debian: apt-get install llvm-${llvm}`,
    );
  });
}

/** Collects the profiles of a run; commands under {@link env} write them. */
export class RustCoverage {
  #tools = llvmTools();
  #folder = mkdtempSync(join(tmpdir(), 'evbus-coverage-'));

  /** What makes cargo instrument the crates of the workspace, and their programs write profiles. */
  env = {
    RUSTC_WORKSPACE_WRAPPER: join(root, 'dev/lib/instrument.sh'),
    LLVM_PROFILE_FILE: join(this.#folder, '%p-%m%c.profraw'),
  };

  /**
   * Prints the coverage and the files that need it most.
   *
   * @param {ReturnType<typeof import('./lib/cargo.mjs').artifacts>} artifacts what cargo built under {@link env}
   * @throws {Failure} below the least coverage
   */
  report(artifacts) {
    const [profdata, cov] = this.#tools;
    const options = { encoding: 'utf8', maxBuffer: 2 ** 28, stdio: ['ignore', 'pipe', 'inherit'] };
    const list = join(this.#folder, 'profiles');
    const profiles = readdirSync(this.#folder).filter((file) => file.endsWith('.profraw'));
    writeFileSync(list, profiles.map((file) => join(this.#folder, file)).join('\n'));
    const merged = join(this.#folder, 'all.profdata');
    // A process that was killed while it began may leave a file that is not whole.
    execFileSync(
      profdata,
      ['merge', '-sparse', '-failure-mode=warn', '-f', list, '-o', merged],
      options,
    );
    const objects = artifacts.flatMap(({ executable, target, filenames }) =>
      executable ? [executable] : target.kind.includes('cdylib') ? filenames.filter(isLibrary) : [],
    );
    const flags = ['export', '-format=lcov', `-instr-profile=${merged}`];
    const text = execFileSync(
      cov,
      [...flags, ...objects.flatMap((file) => ['-object', file])],
      options,
    );
    const files = lines(text);
    const count = files.reduce((sum, file) => sum + file.count, 0);
    const covered = files.reduce((sum, file) => sum + file.covered, 0);
    if (count === 0) throw new Failure('no line of Rust was measured');
    const percent = (100 * covered) / count;
    console.log(`Rust, the files with the most lines that no test ran:`);
    files.sort((one, other) => other.count - other.covered - (one.count - one.covered));
    for (const { file, count: lines, covered: run } of files.slice(0, WORST))
      console.log(
        `${((100 * run) / lines).toFixed(1).padStart(6)} %  ${String(lines - run).padStart(5)} of ${lines}  ${file}`,
      );
    console.log(`Rust: ${percent.toFixed(2)} % of ${count} lines`);
    if (percent < LEAST)
      throw new Failure(
        `${percent.toFixed(2)} % of the lines of Rust are covered, which is below ${LEAST} %`,
      );
  }

  /** Removes the profiles. */
  close() {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/**
 * Lines by file, without those that are compiled into tests only.
 *
 * @param {string} lcov
 * @returns {{ file: string, count: number, covered: number }[]}
 */
function lines(lcov) {
  const files = [];
  for (const record of lcov.split('end_of_record')) {
    const file = relative(root, /^SF:(.+)$/m.exec(record)?.[1] ?? '');
    if (!SOURCES.test(file) || TESTS.test(file)) continue;
    // A module of tests is the last thing in its file.
    const source = readFileSync(join(root, file), 'utf8').split('\n');
    const tests = source.indexOf('#[cfg(test)]');
    const last = tests < 0 ? source.length : tests;
    const counts = [...record.matchAll(/^DA:(\d+),(\d+)/gm)]
      .filter(([, line]) => Number(line) <= last)
      .map(([, , count]) => Number(count));
    files.push({ file, count: counts.length, covered: counts.filter((count) => count > 0).length });
  }
  return files;
}

const isLibrary = (file) => /\.(so|dylib|dll)$/.test(file);
