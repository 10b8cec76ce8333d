import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Cluster } from './cluster.mjs';

const DEV = fileURLToPath(new URL('../../', import.meta.url));

/** The usage is the comment at the head of `dev/kafka`, so that there is only one. */
function usage() {
  const lines = readFileSync(join(DEV, 'kafka'), 'utf8').split('\n').slice(1);
  return lines
    .slice(0, lines.indexOf(''))
    .map((line) => line.replace(/^# ?/, ''))
    .join('\n');
}

class UsageError extends Error {}

function parse(argv) {
  // What follows `tool` is the tool's own.
  const tool = argv.indexOf('tool');
  const own = tool < 0 ? argv : argv.slice(0, tool);
  try {
    const { values, positionals } = parseArgs({
      args: own,
      allowPositionals: true,
      options: {
        dir: { type: 'string', default: resolve(DEV, '../.kafka') },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'string' },
        sasl: { type: 'boolean' },
        authorizer: { type: 'boolean' },
        'no-auto-create': { type: 'boolean', default: false },
        'message-max-bytes': { type: 'string' },
        set: { type: 'string', multiple: true, default: [] },
        jvm: { type: 'string' },
      },
    });
    return { values, positionals: tool < 0 ? positionals : [...positionals, ...argv.slice(tool)] };
  } catch (error) {
    throw new UsageError(error.message.split('. To specify')[0]);
  }
}

function wholeNumber(text, what) {
  if (!/^\d+$/.test(text)) throw new UsageError(`${what} must be a whole number, not "${text}"`);
  return Number(text);
}

function clusterOptions(values, nodes) {
  const set = {};
  for (const pair of values.set) {
    const at = pair.indexOf('=');
    if (at < 1) throw new UsageError(`--set takes KEY=VALUE, not "${pair}"`);
    set[pair.slice(0, at)] = pair.slice(at + 1);
  }
  const bytes = values['message-max-bytes'];
  return {
    nodes: nodes === undefined ? 1 : wholeNumber(nodes, 'the number of nodes'),
    dir: values.dir,
    set,
    autoCreate: !values['no-auto-create'],
    version: values.version,
    sasl: values.sasl,
    authorizer: values.authorizer,
    jvm: values.jvm,
    messageMaxBytes: bytes === undefined ? undefined : wholeNumber(bytes, '--message-max-bytes'),
  };
}

const say = (line) => console.error(`dev/kafka: ${line}`);

function show(cluster, json) {
  if (json) return console.log(JSON.stringify(cluster, null, 2));
  console.log(`bootstrap: ${cluster.bootstrap}`);
  for (const [name, addresses] of Object.entries(cluster.listeners)) {
    if (name !== 'plaintext') console.log(`${name}: ${addresses}`);
  }
  if (cluster.ca) console.log(`ca: ${cluster.ca}`);
}

async function up(values, [nodes]) {
  const options = clusterOptions(values, nodes);
  if (Cluster.load(values.dir))
    throw new Error(
      `there is a cluster in ${values.dir} already; see "dev/kafka status", or end it with "dev/kafka down"`,
    );
  const began = Date.now();
  const cluster = await Cluster.create(options, { log: say });
  await cluster.release();
  say(
    `Kafka ${cluster.version} with ${cluster.nodes.length} node(s) up after ${((Date.now() - began) / 1000).toFixed(1)} s`,
  );
  show(cluster, values.json);
}

async function down(values) {
  if (!(await Cluster.remove(values.dir))) say(`nothing to end in ${values.dir}`);
}

async function status(cluster, json) {
  const nodes = await cluster.status();
  if (json) console.log(JSON.stringify({ ...cluster.toJSON(), nodes }, null, 2));
  else {
    show(cluster, false);
    for (const { node, state, pid, answers, address } of nodes) {
      console.log(
        `node ${node}: ${state}${pid ? ` (pid ${pid})` : ''}, ${answers ? 'answers' : 'does not answer'} at ${address}`,
      );
    }
  }
  process.exitCode = nodes.every(({ answers }) => answers) ? 0 : 3;
}

async function tool(cluster, [name, ...args]) {
  if (name === undefined) throw new UsageError('tool takes the name of a tool or class');
  // Ctrl-C reaches the tool by itself; we wait for it to end in its own way.
  process.on('SIGINT', () => {});
  process.exitCode = await cluster.toolInTerminal(name, args);
}

async function onNodes(cluster, command, given) {
  if (given.length === 0) throw new UsageError(`${command} takes the number of a node`);
  const nodes = given.map((text) => wholeNumber(text, 'a node'));
  if (command === 'start') {
    if (!(await cluster.start(nodes))) say('started; ready when more than half of the nodes run');
    await cluster.release();
    return;
  }
  for (const node of nodes) {
    await cluster[command](node);
    await cluster.release();
  }
}

async function main() {
  const { values, positionals } = parse(process.argv.slice(2));
  const [command, ...rest] = positionals;
  if (values.help || command === undefined || command === 'help') {
    console.log(usage());
    process.exitCode = values.help || command ? 0 : 2;
    return;
  }
  if (command === 'up') return up(values, rest);
  if (command === 'down') return down(values);
  if (!['status', 'tool', 'kill', 'pause', 'cont', 'start', 'restart'].includes(command)) {
    throw new UsageError(`unknown command "${command}"`);
  }
  const cluster = Cluster.load(values.dir);
  if (!cluster) throw new Error(`no cluster in ${values.dir}; start one with "dev/kafka up"`);
  if (command === 'status') return status(cluster, values.json);
  if (command === 'tool') return tool(cluster, rest);
  return onNodes(cluster, command, rest);
}

main().catch((error) => {
  say(error.message);
  if (error instanceof UsageError) say('see "dev/kafka --help"');
  process.exitCode = error instanceof UsageError ? 2 : 1;
});
