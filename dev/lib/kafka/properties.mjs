import { join } from 'node:path';
import { certificatePaths, KEYSTORE_PASSWORD } from './certificates.mjs';
import { HOST } from './ports.mjs';
import { USERS } from './users.mjs';

const MECHANISMS = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'];

/** The listeners for clients by name; the value is Kafka's protocol. */
export function clientListeners({ sasl }) {
  return sasl
    ? {
        PLAINTEXT: 'PLAINTEXT',
        SASL_PLAINTEXT: 'SASL_PLAINTEXT',
        SASL_SSL: 'SASL_SSL',
        SSL: 'SSL',
        MTLS: 'SSL',
      }
    : { PLAINTEXT: 'PLAINTEXT' };
}

/** All listeners of a node. */
export function listenerNames(state) {
  return [
    ...Object.keys(clientListeners(state)),
    ...(state.mode === 'kraft' ? ['CONTROLLER'] : []),
  ];
}

export function text(properties) {
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
}

const quote = (value) => `"${value.replace(/["\\]/g, '\\$&')}"`;
const login = (mechanism, rest) =>
  `org.apache.kafka.common.security.${mechanism === 'PLAIN' ? 'plain.PlainLoginModule' : 'scram.ScramLoginModule'} required${rest};`;

function keystore(path) {
  return {
    'ssl.keystore.type': 'PKCS12',
    'ssl.keystore.location': path,
    'ssl.keystore.password': KEYSTORE_PASSWORD,
    'ssl.key.password': KEYSTORE_PASSWORD,
  };
}

function security(state) {
  const paths = certificatePaths(join(state.dir, 'certificates'));
  const known = Object.values(USERS)
    .map(({ username, password }) => ` user_${username}=${quote(password)}`)
    .join('');
  const properties = {
    ...keystore(paths.serverKeystore),
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.location': paths.ca,
    'listener.name.mtls.ssl.client.auth': 'required',
    'sasl.enabled.mechanisms': MECHANISMS.join(','),
  };
  for (const listener of ['sasl_ssl', 'sasl_plaintext']) {
    for (const mechanism of MECHANISMS) {
      properties[`listener.name.${listener}.${mechanism.toLowerCase()}.sasl.jaas.config`] = login(
        mechanism,
        mechanism === 'PLAIN' ? known : '',
      );
    }
  }
  return properties;
}

function consensus(state, node) {
  if (state.mode === 'zookeeper') {
    return {
      'broker.id': node,
      'zookeeper.connect': `${HOST}:${state.ports.zookeeper}`,
      'zookeeper.connection.timeout.ms': 60_000,
      'zookeeper.session.timeout.ms': 4_000,
    };
  }
  return {
    'node.id': node,
    'process.roles': 'broker,controller',
    'controller.quorum.voters': state.nodes
      .map((id) => `${id}@${HOST}:${state.ports[id].CONTROLLER}`)
      .join(','),
    'controller.listener.names': 'CONTROLLER',
    // A killed node is noticed, and may register again, after this time, not after Kafka's nine seconds. A node
    // alone has no other to take over, so nothing is lost by noticing at once.
    'broker.session.timeout.ms': state.nodes.length === 1 ? 2_000 : 4_000,
    'broker.heartbeat.interval.ms': 500,
  };
}

/** The server.properties of one node. */
export function serverProperties(state, node) {
  const ports = state.ports[node];
  const protocols = {
    ...clientListeners(state),
    ...(state.mode === 'kraft' ? { CONTROLLER: 'PLAINTEXT' } : {}),
  };
  const at = (names) => names.map((name) => `${name}://${HOST}:${ports[name]}`).join(',');
  const replicas = state.nodes.length;
  const inSync = replicas === 3 ? 2 : 1;
  return {
    ...consensus(state, node),
    listeners: at(Object.keys(protocols)),
    'advertised.listeners': at(Object.keys(clientListeners(state))),
    'listener.security.protocol.map': Object.entries(protocols)
      .map(([name, protocol]) => `${name}:${protocol}`)
      .join(','),
    'inter.broker.listener.name': 'PLAINTEXT',
    'log.dirs': join(state.dir, `node-${node}`, 'data'),
    'default.replication.factor': replicas,
    'min.insync.replicas': inSync,
    'offsets.topic.replication.factor': replicas,
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': inSync,
    'share.coordinator.state.topic.replication.factor': replicas,
    'share.coordinator.state.topic.min.isr': inSync,
    // Kafka's fifty are for thousands of groups; they would be most of the work of a first start.
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.num.partitions': 4,
    'share.coordinator.state.topic.num.partitions': 4,
    'group.initial.rebalance.delay.ms': 0,
    'log.cleaner.dedupe.buffer.size': 4_194_304,
    'auto.create.topics.enable': state.autoCreate,
    ...(state.sasl ? security(state) : {}),
    ...(state.authorizer
      ? {
          'authorizer.class.name':
            state.mode === 'kraft'
              ? 'org.apache.kafka.metadata.authorizer.StandardAuthorizer'
              : 'kafka.security.authorizer.AclAuthorizer',
          // The brokers talk to each other, and the tools to them, without a login.
          'super.users': 'User:ANONYMOUS;User:admin;User:CN=client',
        }
      : {}),
    ...state.set,
  };
}

/** The configuration of the ZooKeeper of versions that need one. */
export function zookeeperProperties(state) {
  return {
    dataDir: join(state.dir, 'zookeeper', 'data'),
    clientPort: state.ports.zookeeper,
    clientPortAddress: HOST,
    'admin.enableServer': false,
    maxClientCnxns: 0,
    // The shortest session is two ticks; brokers ask for a short one so that a killed broker can come back soon.
    tickTime: 500,
  };
}

/** Properties files for Kafka's own tools, one per way to log in. */
export function clientProperties(state) {
  const paths = certificatePaths(join(state.dir, 'certificates'));
  const trust = { 'ssl.truststore.type': 'PEM', 'ssl.truststore.location': paths.ca };
  const files = {
    ssl: { 'security.protocol': 'SSL', ...trust },
    mtls: {
      'security.protocol': 'SSL',
      ...trust,
      ...keystore(paths.clientKeystore),
    },
  };
  for (const { username, password } of Object.values(USERS)) {
    for (const mechanism of MECHANISMS) {
      files[`${username}-${mechanism.toLowerCase()}`] = {
        'security.protocol': 'SASL_SSL',
        ...trust,
        'sasl.mechanism': mechanism,
        'sasl.jaas.config': login(
          mechanism,
          ` username=${quote(username)} password=${quote(password)}`,
        ),
      };
    }
  }
  return files;
}

/** Log configuration in the language of the version's logging library: everything to standard output, or only warnings to standard error. */
export function logProperties(log4j, { level, target }) {
  const pattern = '[%d{HH:mm:ss.SSS}] %-5p %m (%c{1})%n';
  // They print every property at every start and every state change of every partition.
  const quiet = {
    config: 'org.apache.kafka.common.config',
    state: 'state.change.logger',
    zk: 'org.apache.zookeeper',
    kafkaconfig: 'kafka.server.KafkaConfig',
  };
  if (log4j === 1) {
    return {
      'log4j.rootLogger': `${level}, console`,
      'log4j.appender.console': 'org.apache.log4j.ConsoleAppender',
      'log4j.appender.console.Target': `System.${target}`,
      'log4j.appender.console.layout': 'org.apache.log4j.PatternLayout',
      'log4j.appender.console.layout.ConversionPattern': pattern,
      ...Object.fromEntries(Object.values(quiet).map((name) => [`log4j.logger.${name}`, 'WARN'])),
    };
  }
  return {
    'rootLogger.level': level,
    'rootLogger.appenderRef.console.ref': 'console',
    'appender.console.type': 'Console',
    'appender.console.name': 'console',
    'appender.console.target': target === 'out' ? 'SYSTEM_OUT' : 'SYSTEM_ERR',
    'appender.console.layout.type': 'PatternLayout',
    'appender.console.layout.pattern': pattern,
    ...Object.fromEntries(
      Object.entries(quiet).flatMap(([id, name]) => [
        [`logger.${id}.name`, name],
        [`logger.${id}.level`, 'WARN'],
      ]),
    ),
  };
}

/** The JVM flag that points the logging library at its configuration. */
export function logFlag(log4j, path) {
  return log4j === 1
    ? `-Dlog4j.configuration=file:${path}`
    : `-Dlog4j2.configurationFile=file:${path}`;
}
