// Child processes for the scripts of this folder: no shell, output passed through, failures that say what failed.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the repository. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

const windows = process.platform === 'win32';

/** A failure that a person can act on: printed without a stack by {@link main}. */
export class Failure extends Error {}

/**
 * Runs a program and resolves with what it wrote to stdout when `capture` is set, else with ''.
 * Rejects with a {@link Failure} when it cannot be started or ends with another status than 0.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, capture?: boolean, hint?: string }} [options]
 * @returns {Promise<string>}
 */
export function run(command, args, { cwd = root, env = process.env, capture = false, hint } = {}) {
  return new Promise((resolve, reject) => {
    // npm and its relatives are batch files on Windows, which only a shell starts.
    const shell = windows && /^(npm|npx|pnpm)$/.test(command);
    const child = spawn(command, args, {
      cwd,
      env,
      shell,
      stdio: ['ignore', capture ? 'pipe' : 'inherit', 'inherit'],
    });
    const chunks = [];
    child.stdout?.on('data', (chunk) => chunks.push(chunk));
    const advice = hint ? `\n${hint}` : '';
    child.once('error', (error) => {
      reject(new Failure(`cannot start ${command}: ${error.message}${advice}`, { cause: error }));
    });
    child.once('close', (status, signal) => {
      if (status === 0) return resolve(Buffer.concat(chunks).toString('utf8'));
      const end = signal ? `was ended by ${signal}` : `ended with status ${status}`;
      reject(new Failure(`${[command, ...args].join(' ')} ${end}${advice}`));
    });
  });
}

/**
 * Whether a program of that name is on the PATH.
 *
 * @param {string} program
 */
export function onPath(program) {
  const names = windows ? [`${program}.exe`, `${program}.cmd`, `${program}.bat`] : [program];
  const folders = (process.env.PATH ?? '').split(delimiter);
  return folders.some((folder) => names.some((name) => existsSync(join(folder, name))));
}

/** @param {string} line */
export const say = (line) => process.stderr.write(`${line}\n`);

/**
 * Runs a script's body; a {@link Failure} becomes one message and exit status 1.
 *
 * @param {() => Promise<void>} body
 */
export async function main(body) {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    say(`\nerror: ${error.message}`);
    process.exitCode = 1;
  }
}
