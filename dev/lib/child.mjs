// Long commands whose output streams through, and of which nothing outlives this process.

import { spawn } from 'node:child_process';
import { StringDecoder } from 'node:string_decoder';
import { root } from './exec.mjs';

// The command leads a process group of its own. The subshell beside it waits on descriptor 3, whose other end only
// this process holds: end of file means that we are gone, however we died, and then the whole group goes.
const LEASH = '( read -r _ <&3 || kill -9 -$$ ) </dev/null >/dev/null 2>&1 & exec "$@" 3<&-';

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();

function killGroup(child) {
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

for (const [name, number] of Object.entries({ SIGINT: 2, SIGTERM: 15, SIGHUP: 1 })) {
  process.once(name, () => process.exit(128 + number));
}
process.once('exit', () => running.forEach(killGroup));

/** Passes a stream on, if there is an `out`, and hands its lines to `onLine`. */
function tee(stream, out, onLine) {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  stream.on('data', (chunk) => {
    out?.write(chunk);
    const lines = (rest + decoder.write(chunk)).split('\n');
    rest = lines.pop();
    lines.forEach(onLine);
  });
  stream.on('end', () => rest && onLine(rest));
}

/**
 * Runs a command to its end. Its output passes through as it comes; what it has left running is killed.
 *
 * @param {readonly string[]} command
 * @param {{ cwd?: string, env?: Record<string, string | undefined>, onLine?: (line: string) => void, quiet?: boolean }} [options]
 *   `env` is added to ours; `onLine` hears every line of output; `quiet` keeps its standard output from ours
 * @returns {Promise<string | undefined>} how it failed, or undefined
 */
export function stream(command, { cwd = root, env, onLine = () => {}, quiet = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn('sh', ['-c', LEASH, 'sh', ...command], {
      cwd,
      env: { ...process.env, ...env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    });
    running.add(child);
    tee(child.stdout, quiet ? undefined : process.stdout, onLine);
    tee(child.stderr, process.stderr, onLine);
    child.once('error', (error) => {
      running.delete(child);
      resolve(`${command[0]} cannot be started: ${error.message}`);
    });
    // What it left behind may hold the pipes open: end that first, then wait for the rest of the output.
    child.once('exit', () => killGroup(child));
    child.once('close', (status, signal) => {
      running.delete(child);
      if (status === 0) return resolve(undefined);
      resolve(signal ? `was ended by ${signal}` : `ended with status ${status}`);
    });
  });
}
