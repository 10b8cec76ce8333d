import { existsSync, mkdtempSync, readFileSync, realpathSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { makeCertificates } from './certificates.mjs';
import { randomUuid } from './distribution.mjs';
import { freePorts } from './ports.mjs';
import { clientProperties, listenerNames, logProperties, text } from './properties.mjs';

const FILE = 'cluster.json';

/** The one spelling of a state directory, by which its processes are found. */
export function realDir(dir) {
  return existsSync(dir) ? realpathSync(dir) : resolve(dir);
}

/** Whether a directory holds the state of a cluster. */
export function hasState(dir) {
  return existsSync(join(dir, FILE));
}

/** The state kept in a directory, or undefined. */
export function loadState(dir) {
  const real = realDir(dir);
  return hasState(real) ? JSON.parse(readFileSync(join(real, FILE), 'utf8')) : undefined;
}

/** Takes a directory (a temporary one by default) and ports for a new cluster, and writes that down. */
export async function createState({ dir: wanted, nodes: count, ...options }) {
  if (wanted !== undefined) {
    await mkdir(wanted, { recursive: true });
    if ((await readdir(wanted)).length > 0) {
      const whose = hasState(wanted)
        ? ': it belongs to a cluster already; take that one down first'
        : '';
      throw new Error(`${wanted} is not empty${whose}`);
    }
  }
  const dir = realpathSync(wanted ?? mkdtempSync(join(tmpdir(), 'kafka-')));
  const nodes = Array.from({ length: count }, (_, index) => index + 1);
  const names = listenerNames(options);
  const free = await freePorts(count * names.length + 1);
  const ports = { zookeeper: free.pop() };
  for (const node of nodes)
    ports[node] = Object.fromEntries(names.map((name) => [name, free.pop()]));
  const state = { dir, nodes, ports, clusterId: randomUuid(), ...options };
  // Exclusive: of two that take the same directory at once, one gets it.
  await writeFile(join(dir, FILE), JSON.stringify(state, null, 2), { flag: 'wx', mode: 0o600 });
  return state;
}

/** Writes what nodes and tools need besides the properties of each node. */
export async function writeFiles(state) {
  const { dir, sasl, log4j } = state;
  const log = (level, target) => text(logProperties(log4j, { level, target }));
  await writeFile(join(dir, 'server-log.properties'), log('INFO', 'out'));
  await writeFile(join(dir, 'tool-log.properties'), log('WARN', 'err'));
  if (!sasl) return;
  await makeCertificates(join(dir, 'certificates'));
  await mkdir(join(dir, 'clients'));
  for (const [name, properties] of Object.entries(clientProperties(state))) {
    await writeFile(join(dir, 'clients', `${name}.properties`), text(properties), { mode: 0o600 });
  }
}
