// npm start: installs and builds what is missing, then runs the order demo of examples/node.
//
//   npm start
//   npm start -- --events 100000 --seconds 30     see npm start -- --help
//   KAFKA_BROKERS=localhost:9092 npm start        on that Kafka instead of the embedded broker
//
// Needs Rust, cc, make, perl, bash and Node; says what of it is missing, before anything is installed.

// An old Node must get as far as the check below: nothing newer than it is imported or written before.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 18 || (major === 18 && minor < 18)) {
  process.stderr.write(
    `error: Node ${process.versions.node} is too old, 18.18 is needed: https://nodejs.org\n`,
  );
  process.exit(1);
}

const { Failure, main, say } = await import('./lib/exec.mjs');
const { parseOptions, USAGE, UsageError } = await import('../examples/node/options.mjs');

/** A build that says nothing for longer would be taken for dead. */
const SIGN_OF_LIFE_MS = 15_000;

/** @param {number} since */
function elapsed(since) {
  const seconds = Math.round((performance.now() - since) / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

async function prepare() {
  const { checkPrerequisites } = await import('./lib/prerequisites.mjs');
  checkPrerequisites();
  const began = performance.now();
  const alive = setInterval(() => say(`… at work for ${elapsed(began)}`), SIGN_OF_LIFE_MS);
  try {
    const { build } = await import('./build.mjs');
    await build();
  } finally {
    clearInterval(alive);
  }
  if (performance.now() - began > SIGN_OF_LIFE_MS) say(`built in ${elapsed(began)}`);
}

await main(async () => {
  const args = process.argv.slice(2);
  try {
    // Before a build of minutes, not after it.
    if (parseOptions(args) === undefined) {
      process.stdout.write(`${USAGE}\n`);
      return;
    }
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    say(`error: ${error.message}\n\n${USAGE}`);
    process.exitCode = 2;
    return;
  }
  await prepare();
  const demo = await import('../examples/node/main.mjs');
  try {
    process.exitCode = await demo.main(args);
  } catch (error) {
    throw new Failure(error.hint ? `${error.message}\n  ${error.hint}` : error.message, {
      cause: error,
    });
  }
});
