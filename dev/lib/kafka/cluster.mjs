import { existsSync, readFileSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { allowPrefix, coordinatorAnswers, createTopic, metadata } from './admin.mjs';
import { archivePath, draftOf } from './cache.mjs';
import { certificatePaths } from './certificates.mjs';
import { ensureJars, formatNode } from './distribution.mjs';
import { javaAvailable, javaVersion } from './java.mjs';
import { Launched, logPath, ZOOKEEPER } from './node.mjs';
import { normalise } from './options.mjs';
import { HOST } from './ports.mjs';
import { findNodes, isGone, signal, until } from './processes.mjs';
import { clientListeners } from './properties.mjs';
import { createState, hasState, loadState, realDir, writeFiles } from './state.mjs';
import { runTool, runToolInTerminal } from './tools.mjs';
import { ALLOWED_PREFIX, USERS } from './users.mjs';

export { javaAvailable } from './java.mjs';
export { ALLOWED_PREFIX, USERS } from './users.mjs';

const ATTEMPTS = 4;

/** Ports that were free when chosen and taken when used; the only failure of a start that another try mends. */
class PortTaken extends Error {}

/** What a cluster tells a program, see {@link Cluster.toJSON}. */
const PLAIN_DATA = [
  'version',
  'dir',
  'nodes',
  'bootstrap',
  'listeners',
  'ca',
  'strangerCa',
  'clientCert',
  'clientKey',
  'users',
];

/** A real Apache Kafka of one or three nodes on this machine. Made by `startKafka`, or found by `Cluster.load`. */
export class Cluster {
  #launched = new Map();
  // Whether the cluster lives and ends with this process.
  #owned = false;

  constructor(state) {
    this.state = state;
  }

  /** The cluster whose state directory is `dir`, or undefined if there is none. */
  static load(dir) {
    const state = loadState(dir);
    return state && new Cluster(state);
  }

  /** Ends what runs for `dir` and removes it, whatever state it is in; whether there was anything. */
  static async remove(dir) {
    const real = realDir(dir);
    if (!hasState(real) && findNodes(real).size === 0) return false;
    await (Cluster.load(real) ?? new Cluster({ dir: real, nodes: [] })).down();
    return true;
  }

  /** Makes and starts a cluster; see `startKafka`. `archive` makes it write its class data archive there at its end. */
  static async create(given, { log = () => {}, archive } = {}) {
    const options = normalise(given);
    const java = javaAvailable(options);
    if (!java.ok) throw new Error(`Kafka ${options.version} cannot run here: ${java.reason}`);
    await ensureJars(options.version, log);
    if (!archive) await ensureArchive(options, log);
    for (let attempt = 1; ; attempt += 1) {
      const cluster = new Cluster(await createState(options));
      cluster.#owned = true;
      try {
        await cluster.#startFirst(options, archive);
        return cluster;
      } catch (error) {
        await cluster.down();
        if (!(error instanceof PortTaken) || attempt === ATTEMPTS) throw error;
        log(`${error.message}; trying other ports`);
      }
    }
  }

  async #startFirst({ startTimeoutMs }, archive) {
    const { state } = this;
    await writeFiles(this.state);
    if (state.mode === 'kraft') {
      for (const node of state.nodes) {
        const dataDir = join(state.dir, `node-${node}`, 'data');
        await formatNode({
          version: state.version,
          scram: state.sasl,
          node,
          clusterId: state.clusterId,
          dataDir,
        });
      }
    } else {
      await this.#launch(ZOOKEEPER);
      if (state.sasl) await this.#addScramUsers();
    }
    for (const node of state.nodes) await this.#launch(node, archive);
    await this.#ready(state.nodes, startTimeoutMs);
    if (state.authorizer)
      await allowPrefix(this.#addresses(), `User:${USERS.limited.username}`, ALLOWED_PREFIX);
  }

  /** Before the first broker starts, so that each knows the users when it answers. */
  async #addScramUsers() {
    for (const { username, password } of Object.values(USERS)) {
      await this.tool('kafka.admin.ConfigCommand', [
        '--zookeeper',
        `${HOST}:${this.state.ports.zookeeper}`,
        '--alter',
        '--entity-type',
        'users',
        '--entity-name',
        username,
        '--add-config',
        `SCRAM-SHA-256=[password=${password}],SCRAM-SHA-512=[password=${password}]`,
      ]);
    }
  }

  async #launch(id, archive) {
    // A node that only joins a running cluster must not take the data of the others with it.
    const remove = this.#owned ? this.state.dir : undefined;
    this.#launched.set(String(id), await Launched.launch(this.state, id, { archive, remove }));
  }

  #addresses(nodes = this.state.nodes) {
    return nodes.map((node) => ({ host: HOST, port: this.state.ports[node].PLAINTEXT }));
  }

  #running() {
    const found = findNodes(this.state.dir);
    return this.state.nodes.filter(
      (node) => found.has(String(node)) && !found.get(String(node)).paused,
    );
  }

  /** Ends with an error if a JVM that `nodes` need to become ready has ended instead. */
  async #checkAlive(nodes) {
    for (const id of [ZOOKEEPER, ...nodes]) {
      const launched = this.#launched.get(String(id));
      if (!launched?.ended) continue;
      const output = launched.output();
      // ZooKeeper still holds the session of the killed broker; that ends by itself.
      if (this.state.mode === 'zookeeper' && /NodeExists/.test(output)) {
        await this.#launch(launched.id);
        continue;
      }
      const name = launched.id === ZOOKEEPER ? ZOOKEEPER : `node ${launched.id}`;
      if (/Address already in use|BindException/.test(output))
        throw new PortTaken(`a port of ${name} was taken by somebody else`);
      throw new Error(
        `${name} of Kafka ${this.state.version} ended while starting (${launched.failure?.message ?? `exit code ${launched.child.exitCode ?? launched.child.signalCode}`}):\n${launched.complaint()}`,
      );
    }
  }

  /** Waits until each of `nodes` answers and sees every running node, and, if none is missing, serves groups. */
  async #ready(nodes, timeoutMs) {
    let last;
    const ready = await until(async () => {
      await this.#checkAlive(nodes);
      const running = this.#running();
      try {
        for (const address of this.#addresses(nodes)) {
          const alive = (await metadata(address)).brokers.map(({ node }) => node);
          const missing = running.filter((node) => !alive.includes(node));
          if (missing.length > 0) {
            last = `the broker at ${address.host}:${address.port} does not see node ${missing.join(', ')} yet`;
            return false;
          }
          if (running.length === this.state.nodes.length && !(await coordinatorAnswers(address))) {
            last = 'the coordinator of consumer groups is not available yet';
            return false;
          }
        }
        return true;
      } catch (error) {
        last = error.message;
        return false;
      }
    }, timeoutMs);
    if (!ready) {
      const logs = nodes
        .map((node) => `node ${node}:\n${this.#launched.get(String(node)).complaint()}`)
        .join('\n');
      throw new Error(
        `Kafka ${this.state.version} was not ready within ${timeoutMs} ms: ${last}\n${logs}`,
      );
    }
  }

  #known(nodes) {
    for (const node of nodes) {
      if (!this.state.nodes.includes(node))
        throw new Error(
          `there is no node ${node}; this cluster has ${this.state.nodes.join(', ')}`,
        );
    }
  }

  #process(node) {
    this.#known([node]);
    const found = findNodes(this.state.dir).get(String(node));
    if (!found) throw new Error(`node ${node} is not running`);
    return found;
  }

  #gone(pid, timeoutMs) {
    return until(() => isGone(pid), timeoutMs, 10);
  }

  #forget(node) {
    this.#launched.delete(String(node));
  }

  /** `host:port,…` of the PLAINTEXT listeners. */
  get bootstrap() {
    return this.listeners.plaintext;
  }

  /** `host:port,…` by listener: `plaintext`; with `sasl` also `sasl_plaintext`, `sasl_ssl`, `ssl` and `mtls` (which demands a client certificate). */
  get listeners() {
    const { nodes, ports } = this.state;
    return Object.fromEntries(
      Object.keys(clientListeners(this.state)).map((name) => [
        name.toLowerCase(),
        nodes.map((node) => `${HOST}:${ports[node][name]}`).join(','),
      ]),
    );
  }

  get version() {
    return this.state.version;
  }

  get dir() {
    return this.state.dir;
  }

  get nodes() {
    return [...this.state.nodes];
  }

  #certificate(name) {
    return this.state.sasl
      ? certificatePaths(join(this.state.dir, 'certificates'))[name]
      : undefined;
  }

  /** PEM path of the CA that signed the servers' and the client's certificate; undefined without `sasl`, as the next three. */
  get ca() {
    return this.#certificate('ca');
  }

  /** PEM path of a CA that has signed nothing here. */
  get strangerCa() {
    return this.#certificate('strangerCa');
  }

  get clientCert() {
    return this.#certificate('clientCert');
  }

  get clientKey() {
    return this.#certificate('clientKey');
  }

  /** `{admin, limited}`, each with username and password, good for every mechanism; undefined without `sasl`. */
  get users() {
    return this.state.sasl ? USERS : undefined;
  }

  /** Kills a node (SIGKILL); resolves when its process is gone. */
  async kill(node) {
    const { pid } = this.#process(node);
    signal(pid, 'SIGKILL');
    if (!(await this.#gone(pid, 10_000)))
      throw new Error(`node ${node} is still there 10 s after SIGKILL`);
    this.#forget(node);
  }

  /** Stops a node in order (SIGTERM: it hands its leaderships over), by force after `timeoutMs`. */
  async stop(node, { timeoutMs = 30_000 } = {}) {
    const { pid } = this.#process(node);
    signal(pid, 'SIGCONT');
    signal(pid, 'SIGTERM');
    if (!(await this.#gone(pid, timeoutMs))) await this.kill(node);
    this.#forget(node);
  }

  /** Freezes a node (SIGSTOP): its connections stay open, nothing answers. */
  async pause(node) {
    const { pid } = this.#process(node);
    signal(pid, 'SIGSTOP');
    await until(() => findNodes(this.state.dir).get(String(node))?.paused, 5_000, 5);
  }

  /** Lets a paused node go on (SIGCONT). */
  async cont(node) {
    signal(this.#process(node).pid, 'SIGCONT');
  }

  /**
   * Starts one node or several again, on their old ports and data, and waits until they answer.
   * @param {number | number[]} nodes
   * @returns {Promise<boolean>} false if too few nodes run for any to become ready; then they wait for the others
   */
  async start(nodes, { timeoutMs = 60_000 } = {}) {
    const wanted = [nodes].flat();
    this.#known(wanted);
    const found = findNodes(this.state.dir);
    for (const node of wanted) {
      if (found.has(String(node))) throw new Error(`node ${node} is running already`);
    }
    if (this.state.mode === 'zookeeper' && !found.has(ZOOKEEPER)) await this.#launch(ZOOKEEPER);
    for (const node of wanted) await this.#launch(node);
    const running = new Set([...this.#running(), ...wanted]);
    if (this.state.mode === 'kraft' && running.size * 2 <= this.state.nodes.length) return false;
    try {
      await this.#ready(wanted, timeoutMs);
    } catch (error) {
      for (const node of wanted) {
        const { child } = this.#launched.get(String(node));
        child.kill('SIGKILL');
        await this.#gone(child.pid, 10_000);
        this.#forget(node);
      }
      throw error;
    }
    return true;
  }

  /** Stops a node in order and starts it again. */
  async restart(node, options) {
    await this.stop(node);
    return this.start(node, options);
  }

  /**
   * Each node with its process and whether it answers.
   * @returns {Promise<{node: number, state: 'running' | 'paused' | 'stopped', pid?: number, answers: boolean, address: string}[]>}
   */
  async status() {
    const found = findNodes(this.state.dir);
    return Promise.all(
      this.state.nodes.map(async (node) => {
        const process = found.get(String(node));
        const [address] = this.#addresses([node]);
        const answers = await metadata(address, [], 1_500).then(
          ({ brokers }) => brokers.some((broker) => broker.node === node),
          () => false,
        );
        return {
          node,
          state: process ? (process.paused ? 'paused' : 'running') : 'stopped',
          pid: process?.pid,
          answers,
          address: `${address.host}:${address.port}`,
        };
      }),
    );
  }

  /** Waits until every replica of every partition is in sync again, as after a restart. */
  async inSync({ timeoutMs = 60_000 } = {}) {
    let behind = [];
    const done = await until(async () => {
      try {
        const { topics } = await metadata(this.#addresses(this.#running())[0], null);
        behind = topics.flatMap(({ name, partitions }) =>
          partitions
            .filter(({ replicas, inSync }) => inSync.length < replicas.length)
            .map(({ partition }) => `${name}-${partition}`),
        );
        return behind.length === 0;
      } catch (error) {
        behind = [error.message];
        return false;
      }
    }, timeoutMs);
    if (!done)
      throw new Error(
        `not all replicas are in sync after ${timeoutMs} ms: ${behind.slice(0, 10).join(', ')}`,
      );
  }

  /**
   * Makes a topic; resolves when every running node knows the leaders of its partitions.
   * @param {string} name
   * @param {{partitions?: number, replication?: number, config?: Record<string, string | number>, timeoutMs?: number}} [options] one partition, as many replicas as nodes
   */
  async createTopic(name, { replication = this.state.nodes.length, ...options } = {}) {
    await createTopic(this.#addresses(this.#running()), name, { replication, ...options });
  }

  /**
   * Runs one of Kafka's tools, by the name of its script (`kafka-topics`; it gets `--bootstrap-server` unless the
   * arguments name a cluster) or by the full name of a class. Rejects if it fails.
   * @returns {Promise<{code: number, stdout: string, stderr: string}>}
   */
  tool(name, args = [], options = {}) {
    return runTool(this.state, this.bootstrap, name, args, options);
  }

  /** The same with our own standard input and output; the exit code. */
  toolInTerminal(name, args) {
    return runToolInTerminal(this.state, this.bootstrap, name, args);
  }

  /** What a node has logged so far. */
  log(node) {
    this.#known([node]);
    return readFileSync(logPath(this.state, node), 'utf8');
  }

  /** Lets the nodes outlive this process. */
  async release() {
    for (const launched of this.#launched.values()) await launched.release();
    this.#owned = false;
  }

  /** Ends every process, paused ones too, and removes the state directory. */
  async down() {
    const { dir } = this.state;
    const pids = new Set(
      [...this.#launched.values()].filter(({ ended }) => !ended).map(({ child }) => child.pid),
    );
    const left = () => [...pids].filter((pid) => !isGone(pid));
    const ended = await until(
      () => {
        for (const { pid } of findNodes(dir).values()) pids.add(pid);
        for (const pid of left()) signal(pid, 'SIGKILL');
        return left().length === 0;
      },
      15_000,
      10,
    );
    if (!ended)
      throw new Error(
        `processes of the cluster in ${dir} are still there 15 s after SIGKILL: ${left().join(', ')}`,
      );
    this.#launched.clear();
    await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Everything a program has to know, as plain data. */
  toJSON() {
    return Object.fromEntries(PLAIN_DATA.map((name) => [name, this[name]]));
  }
}

/** Makes the class data archive of a version from the classes that one short run of a node loads. */
async function ensureArchive({ version }, log) {
  const path = archivePath(version, javaVersion());
  if (existsSync(path)) return;
  log(`preparing Kafka ${version} for quick starts (some seconds, once)`);
  const draft = draftOf(path);
  try {
    const cluster = await Cluster.create({ version }, { log, archive: draft });
    try {
      await cluster.stop(1, { timeoutMs: 120_000 });
    } finally {
      await cluster.down();
    }
    if (existsSync(draft)) await rename(draft, path);
    else log(`this Java writes no class data archive; nodes of Kafka ${version} will start slowly`);
  } finally {
    await rm(draft, { force: true });
  }
}

/**
 * Starts a real Apache Kafka on this machine and resolves when every node answers. Its processes end and its
 * directory goes when `down()` is called or when this process ends, however it ends (SIGKILL too).
 *
 * @param {object} [options]
 * @param {1 | 3} [options.nodes] 1 by default; 3: replication factor 3, min.insync.replicas 2
 * @param {string} [options.version] 4.1.0 by default; 3.5 and newer run with KRaft, 2.8 to 3.4 with ZooKeeper
 * @param {boolean} [options.sasl] adds SASL_PLAINTEXT, SASL_SSL (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512), SSL and MTLS listeners
 * @param {boolean} [options.authorizer] includes `sasl`; the user `limited` may only use names that begin with `allowed`
 * @param {boolean} [options.autoCreate] auto.create.topics.enable, true by default
 * @param {number} [options.messageMaxBytes] message.max.bytes
 * @param {Record<string, string | number>} [options.set] further broker properties, over all others
 * @param {string | string[]} [options.jvm] `quick` (default), `throughput`, or JVM flags
 * @param {string} [options.dir] a new or empty directory; a temporary one by default
 * @param {number} [options.startTimeoutMs] 90 000 by default
 * @param {(line: string) => void} [options.log] hears of downloads and retries
 * @returns {Promise<Cluster>}
 * @throws if no JDK or Maven is there (see `javaAvailable`), or a node ends while starting: then with its own words
 * @example
 * const kafka = await startKafka({ nodes: 3 });
 * await kafka.createTopic('order.placed', { partitions: 6 });
 * await kafka.kill(2);
 * await kafka.start(2);
 * await kafka.down();
 */
export async function startKafka({ log, ...options } = {}) {
  return Cluster.create(options, { log });
}
