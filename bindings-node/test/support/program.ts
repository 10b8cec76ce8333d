import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const dist = join(__dirname, '../../../dist');

export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

const PREAMBLE = `
  const { KafkaEventBus } = require(${JSON.stringify(join(dist, 'index.js'))});
  const { startEmbeddedBroker } = require(${JSON.stringify(join(dist, 'testing.js'))});
  const makeBus = (config) => new KafkaEventBus({
    clientId: 'program', groupId: 'program', brokers: ['memory:program'], logger: false, ...config,
  });
  const event = (eventId) => ({
    eventId, eventType: 'order.placed', occurredOn: new Date(), aggregateId: 'order-1', version: 1,
    payload: { eventType: 'order.placed', timestamp: new Date() },
  });
`;

/** The text of a program in which makeBus, event and startEmbeddedBroker are defined. */
export function program(body: string): string {
  if (!existsSync(join(dist, 'index.js'))) throw new Error('dist/ is not built: run npm run build');
  return `${PREAMBLE}\n(async () => {${body}})();`;
}

/**
 * Runs a program to its end. At the deadline it is killed, and `signal` says so.
 *
 * @param onOutput - gets all output so far and the process, whenever there is more
 */
export function run(
  text: string,
  timeoutMs = 20_000,
  onOutput: (stdout: string, kill: () => void) => void = () => {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', text], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    child.stdout.on('data', (data) => {
      stdout += data;
      onOutput(stdout, () => child.kill('SIGTERM'));
    });
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    child.on('error', reject);
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      resolve({ status, signal, stdout, stderr });
    });
  });
}
