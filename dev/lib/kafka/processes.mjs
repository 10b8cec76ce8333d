import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

// The shell becomes the command itself (exec keeps its process id, so signals and exit codes are the
// command's own); the subshell beside it waits on descriptor 3, whose other end only our process holds.
// A line means "let it live", end of file means that our process is gone, however it died.
const WATCH = `
remove=$1; shift
( if ! read -r _ <&3; then
    kill -9 $$
    n=0
    while kill -0 $$ && [ $n -lt 200 ]; do sleep 0.05; n=$((n+1)); done
    [ -z "$remove" ] || rm -rf -- "$remove"
  fi ) </dev/null >/dev/null 2>&1 &
exec "$@" 3<&-
`;

/**
 * Starts a command that is killed (SIGKILL) as soon as this process ends for whatever reason.
 * @param {string} command
 * @param {string[]} args
 * @param {{stdio?: any[], detached?: boolean, remove?: string, cwd?: string}} options `remove`: a directory that goes with it in that case
 */
export function spawnWatched(
  command,
  args,
  { stdio = ['ignore', 'ignore', 'ignore'], detached = false, remove = '', cwd } = {},
) {
  const child = spawn('sh', ['-c', WATCH, 'sh', remove, command, ...args], {
    stdio: [...stdio, 'pipe'],
    detached,
    cwd,
  });
  const leash = child.stdio[3];
  // Nobody listens any more once the watching subshell is gone; that is no failure.
  leash.on('error', () => {});
  leash.unref();
  const release = () =>
    new Promise((done) => (leash.writableEnded ? done() : leash.end('live\n', done)));
  // Without this the subshell would, at our end, kill whoever has the process id by then.
  child.once('exit', release);
  return { child, release };
}

/** Runs a watched command to its end; `input` goes to its standard input. */
export function run(command, args, { input, timeoutMs = 600_000, remove, cwd } = {}) {
  return new Promise((resolve, reject) => {
    const { child } = spawnWatched(command, args, { stdio: ['pipe', 'pipe', 'pipe'], remove, cwd });
    const out = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) {
      child[name].setEncoding('utf8').on('data', (text) => (out[name] += text));
    }
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    // A command may end without reading its input; its exit code tells what matters.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code: code ?? 128, signal, late, ...out });
    });
  });
}

const MARK = '-Devbus.kafka.node=';

/** The first JVM argument of a node: it tells whose process it is, so no record of process ids can go stale. */
export function mark(dir, node) {
  return `${MARK}${dir}#${node}`;
}

function* commands() {
  if (existsSync('/proc/self/cmdline')) {
    for (const pid of readdirSync('/proc')) {
      if (!/^\d+$/.test(pid)) continue;
      try {
        const [command, first] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        if (!first?.startsWith(MARK)) continue;
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        yield { pid: Number(pid), command, first, state: stat.slice(stat.lastIndexOf(')') + 2)[0] };
      } catch {
        // The process ended while we looked.
      }
    }
    return;
  }
  for (const line of execFileSync('ps', ['-axwwo', 'pid=,state=,command='], {
    encoding: 'utf8',
  }).split('\n')) {
    const match = /^\s*(\d+)\s+(\S)\S*\s+(.*?java) (-Devbus\.kafka\.node=.*?#\w+) /.exec(line);
    if (match) yield { pid: Number(match[1]), state: match[2], command: match[3], first: match[4] };
  }
}

/**
 * The running JVMs of the cluster in `dir`.
 * @returns {Map<string, {pid: number, paused: boolean}>} by node
 */
export function findNodes(dir) {
  const found = new Map();
  const prefix = mark(dir, '');
  for (const { pid, command, first, state } of commands()) {
    if (command.endsWith('java') && first.startsWith(prefix)) {
      found.set(first.slice(prefix.length), { pid, paused: state === 'T' });
    }
  }
  return found;
}

/** Sends a signal; whether the process was there to get it. */
export function signal(pid, name) {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if (error.code === 'ESRCH') return false;
    throw error;
  }
}

/**
 * Whether nothing of a process is left. One that is ending loses its command line first and its sockets last, and as
 * a zombie whose threads still end it may hold them too.
 */
export function isGone(pid) {
  if (!signal(pid, 0)) return true;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return (
      stat.slice(stat.lastIndexOf(')') + 2)[0] === 'Z' &&
      readdirSync(`/proc/${pid}/task`).length <= 1
    );
  } catch (error) {
    // It ended while we looked; or there is no /proc, and the signal's answer stands.
    return existsSync('/proc/self/stat') && (error.code === 'ENOENT' || error.code === 'ESRCH');
  }
}

/** Asks `condition` again and again until it gives a true value, which is returned; false at the deadline. */
export async function until(condition, timeoutMs, everyMs = 40) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() >= deadline) return false;
    await delay(everyMs);
  }
}
