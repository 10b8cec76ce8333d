import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { javaArguments } from './distribution.mjs';
import { javaCommand } from './java.mjs';
import { mark, spawnWatched } from './processes.mjs';
import { logFlag, serverProperties, text, zookeeperProperties } from './properties.mjs';

/** The name under which the ZooKeeper of older versions runs. */
export const ZOOKEEPER = 'zookeeper';

function program(state, id) {
  return id === ZOOKEEPER
    ? {
        className: 'org.apache.zookeeper.server.quorum.QuorumPeerMain',
        properties: zookeeperProperties(state),
        flags: ['-Xmx128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'],
      }
    : {
        className: 'kafka.Kafka',
        properties: serverProperties(state, id),
        flags: ['-Xmx512m', ...state.jvm],
      };
}

/** Where a node logs. */
export function logPath(state, id) {
  return join(state.dir, id === ZOOKEEPER ? ZOOKEEPER : `node-${id}`, 'kafka.log');
}

/** A JVM of a cluster that this process has started. It dies with this process until it is released. */
export class Launched {
  /** Starts the JVM; it is not ready yet when this returns. `archive`: see `javaArguments`, `remove`: see `spawnWatched`. */
  static async launch(state, id, { archive, remove }) {
    const { className, properties, flags } = program(state, id);
    const log = logPath(state, id);
    const config = join(log, '..', 'server.properties');
    mkdirSync(join(log, '..'), { recursive: true });
    writeFileSync(config, text(properties), { mode: 0o600 });
    const args = await javaArguments(state.version, className, [config], {
      flags: [logFlag(state.log4j, join(state.dir, 'server-log.properties')), ...flags],
      archive,
    });
    const since = existsSync(log) ? statSync(log).size : 0;
    const fd = openSync(log, 'a');
    try {
      // In a session of its own: Ctrl-C in the terminal is for us, and we end the nodes in order.
      const { child, release } = spawnWatched(javaCommand(), [mark(state.dir, id), ...args], {
        stdio: ['ignore', fd, fd],
        detached: true,
        remove,
      });
      return new Launched(id, child, release, log, since);
    } finally {
      closeSync(fd);
    }
  }

  constructor(id, child, release, log, since) {
    this.id = id;
    this.child = child;
    this.release = release;
    this.log = log;
    this.since = since;
    child.unref();
    child.on('error', (error) => (this.failure = error));
  }

  get ended() {
    return (
      this.failure !== undefined || this.child.exitCode !== null || this.child.signalCode !== null
    );
  }

  /** What it has logged since it was started. */
  output() {
    return existsSync(this.log) ? readFileSync(this.log).subarray(this.since).toString('utf8') : '';
  }

  /** What is worth reading of that when it failed. */
  complaint() {
    const lines = this.output().trimEnd().split('\n');
    const first = lines.findIndex((line) => /\b(FATAL|ERROR)\b|Exception|^Error/.test(line));
    return (first < 0 ? lines.slice(-12) : lines.slice(first, first + 12)).join('\n');
  }
}
