import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { archivePath, cacheDir, jarsDir, makeOnce } from './cache.mjs';
import { javaCommand, javaVersion } from './java.mjs';
import { traits } from './options.mjs';
import { run } from './processes.mjs';
import { text } from './properties.mjs';
import { USERS } from './users.mjs';

/** The heap and compiler flags of what runs once and shortly. */
export const TOOL_FLAGS = ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];

const COMMON_FLAGS = ['-XX:-UsePerfData', '-Djava.awt.headless=true'];

function pom(version) {
  const artifacts = [
    ['org.apache.kafka', 'kafka_2.13', version],
    ['org.apache.kafka', 'kafka-tools', version],
  ];
  // Kafka 4 names no backend for its own logging; without one every log line is lost.
  if (traits(version).log4j === 2)
    artifacts.push(['org.apache.logging.log4j', 'log4j-slf4j-impl', '2.24.3']);
  const dependencies = artifacts.map(
    ([group, artifact, wanted]) =>
      `    <dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${wanted}</version></dependency>`,
  );
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev</groupId><artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
${dependencies.join('\n')}
  </dependencies>
</project>
`;
}

/** Downloads the jars of a version unless they are cached. */
export async function ensureJars(version, log) {
  await makeOnce(jarsDir(version), async (draft) => {
    log(`downloading Kafka ${version} with Maven (about 55 MB, once)`);
    const project = `${draft}.pom`;
    try {
      await writeFile(project, pom(version));
      const args = [
        '-B',
        '-q',
        '-Dstyle.color=never',
        '-f',
        project,
        'dependency:copy-dependencies',
        '-DincludeScope=runtime',
        `-DoutputDirectory=${draft}`,
      ];
      const result = await run('mvn', args, { remove: draft });
      if (result.code !== 0) {
        const said = `${result.stdout}${result.stderr}`
          .split('\n')
          .filter((line) => line.startsWith('[ERROR] ') && line.length > 8)
          .slice(0, 1)
          .join('\n');
        throw new Error(
          `Maven could not download Kafka ${version}; does that version exist, and can Maven reach its repository?\n${said || `exit code ${result.code}`}`,
        );
      }
    } finally {
      await rm(project, { force: true });
    }
  });
}

async function jars(version) {
  // In a fixed order: the class data archive is only good for the class path it was made with.
  return (await readdir(jarsDir(version))).sort().map((jar) => join(jarsDir(version), jar));
}

/** The first of `classes` that the version has; the names in a jar's directory are stored as plain text. */
export async function findClass(version, classes) {
  const archives = (await jars(version))
    .filter((jar) => /\/kafka[-_]/.test(jar))
    .map((jar) => readFileSync(jar));
  const found = classes.find((name) =>
    archives.some((bytes) => bytes.includes(`${name.replaceAll('.', '/')}.class`)),
  );
  if (!found) throw new Error(`Kafka ${version} has no class ${classes.join(' or ')}`);
  return found;
}

/**
 * The java arguments that run a class of the version, after the heap and compiler flags in `flags`.
 * `archive`: where to write the class data archive at exit, instead of using the cached one.
 */
export async function javaArguments(version, className, args, { flags, archive }) {
  const cached = archivePath(version, javaVersion());
  const classes = archive
    ? [`-XX:ArchiveClassesAtExit=${archive}`]
    : existsSync(cached)
      ? [`-XX:SharedArchiveFile=${cached}`]
      : [];
  return [
    ...COMMON_FLAGS,
    ...classes,
    ...flags,
    '-cp',
    (await jars(version)).join(':'),
    className,
    ...args,
  ];
}

/** Runs a class of the version to its end. */
export async function runClass(version, className, args, { flags = [], ...options } = {}) {
  const small = [...TOOL_FLAGS, ...flags];
  return run(
    javaCommand(),
    await javaArguments(version, className, args, { flags: small }),
    options,
  );
}

/** A random id in Kafka's spelling; its tools would take a leading dash for an option. */
export function randomUuid() {
  return randomBytes(16).toString('base64url').replace(/^-/, 'A');
}

/**
 * A KRaft directory made once per version by Kafka's own StorageTool: nodes get copies that differ in their ids
 * only, which spares a JVM per node and start.
 */
async function ensureFormatted(version, scram) {
  return makeOnce(
    join(cacheDir(version), scram ? 'formatted-scram' : 'formatted'),
    async (draft) => {
      const config = `${draft}.properties`;
      const users = scram
        ? Object.values(USERS).flatMap(({ username, password }) =>
            ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
              '--add-scram',
              `${mechanism}=[name=${username},password=${password}]`,
            ]),
          )
        : [];
      try {
        await writeFile(
          config,
          text({
            'process.roles': 'broker,controller',
            'node.id': 1,
            'controller.quorum.voters': '1@localhost:1',
            'controller.listener.names': 'CONTROLLER',
            listeners: 'PLAINTEXT://localhost:2,CONTROLLER://localhost:1',
            'log.dirs': draft,
          }),
        );
        const args = ['format', '--cluster-id', randomUuid(), '--config', config, ...users];
        const result = await runClass(version, 'kafka.tools.StorageTool', args, { remove: draft });
        if (result.code !== 0)
          throw new Error(
            `Kafka's StorageTool could not format a directory: ${(result.stderr || result.stdout).trim()}`,
          );
      } finally {
        await rm(config, { force: true });
      }
    },
  );
}

/** Makes the formatted data directory of one node. */
export async function formatNode({ version, scram, node, clusterId, dataDir }) {
  const template = await ensureFormatted(version, scram);
  await mkdir(dirname(dataDir), { recursive: true });
  await cp(template, dataDir, { recursive: true });
  const path = join(dataDir, 'meta.properties');
  const own = { 'cluster.id': clusterId, 'node.id': node, 'directory.id': randomUuid() };
  const lines = (await readFile(path, 'utf8')).split('\n').map((line) => {
    const key = line.split('=')[0];
    return key in own ? `${key}=${own[key]}` : line;
  });
  await writeFile(path, lines.join('\n'));
}
