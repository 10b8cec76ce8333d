import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { jarsDir } from './cache.mjs';
import { DEFAULT_VERSION } from './options.mjs';

const LEAST_JAVA = 17;

/** The java command: the one of JAVA_HOME if that is set, else the one on the PATH. */
export function javaCommand() {
  return process.env.JAVA_HOME ? join(process.env.JAVA_HOME, 'bin', 'java') : 'java';
}

const versions = new Map();

/** The full version text of the java command, or undefined if it does not run. */
export function javaVersion() {
  const java = javaCommand();
  if (!versions.has(java)) {
    const result = spawnSync(java, ['-version'], { encoding: 'utf8' });
    versions.set(java, result.status === 0 ? result.stderr.trim() : undefined);
  }
  return versions.get(java);
}

function onPath(command) {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((dir) => join(dir, command))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/**
 * Whether a real Kafka can run here: a Java of at least 17, and Maven unless the jars of `version` are cached already.
 * @param {{version?: string}} [options]
 * @returns {{ok: true, java: string, mvn: string | undefined, javaVersion: string} | {ok: false, reason: string}}
 * @example
 * const java = javaAvailable();
 * test('on a real Kafka', { skip: !java.ok && java.reason }, async () => { … });
 */
export function javaAvailable({ version = DEFAULT_VERSION } = {}) {
  const java = javaCommand();
  const text = javaVersion();
  if (text === undefined) {
    return {
      ok: false,
      reason: `no JDK: "${java} -version" does not run; install a JDK ${LEAST_JAVA} or newer, or set JAVA_HOME`,
    };
  }
  const found = /version "(\d+)/.exec(text)?.[1];
  if (!(Number(found) >= LEAST_JAVA)) {
    return {
      ok: false,
      reason: `Java ${found ?? 'of unknown version'} at "${java}" is too old; install a JDK ${LEAST_JAVA} or newer, or set JAVA_HOME`,
    };
  }
  const mvn = onPath('mvn');
  if (mvn === undefined && !existsSync(jarsDir(version))) {
    return {
      ok: false,
      reason: `no Maven: there is no "mvn" on the PATH, and Kafka ${version} is not in the cache yet; install Maven`,
    };
  }
  return { ok: true, java, mvn, javaVersion: text };
}
