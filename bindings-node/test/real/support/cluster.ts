import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

export interface KafkaUser {
  readonly username: string;
  readonly password: string;
}

/** The part of dev/lib/kafka's Cluster that these tests use. */
export interface Cluster {
  readonly bootstrap: string;
  readonly version: string;
  readonly listeners: Readonly<Record<string, string>>;
  readonly ca: string;
  readonly strangerCa: string;
  readonly clientCert: string;
  readonly clientKey: string;
  readonly users: { readonly admin: KafkaUser; readonly limited: KafkaUser };
  kill(node: number): Promise<void>;
  pause(node: number): Promise<void>;
  cont(node: number): Promise<void>;
  start(node: number): Promise<boolean>;
  down(): Promise<void>;
  createTopic(
    name: string,
    options?: { partitions?: number; config?: Record<string, string | number> },
  ): Promise<void>;
}

export interface ClusterOptions {
  readonly version?: string;
  readonly sasl?: boolean;
  readonly authorizer?: boolean;
  readonly autoCreate?: boolean;
  readonly set?: Record<string, string | number>;
}

interface Library {
  startKafka(options: ClusterOptions): Promise<Cluster>;
  javaAvailable(options: { version?: string }): { ok: boolean; reason?: string };
}

const library = (await import(
  /* @vite-ignore */ pathToFileURL(join(__dirname, '../../../../dev/lib/kafka/cluster.mjs')).href
)) as Library;

const version = process.env['EVBUS_KAFKA_VERSION'];
const ofVersion = version === undefined ? {} : { version };

/** Why no Kafka can be started here, or nothing if one can. */
export const javaReason = (): string | undefined => library.javaAvailable(ofVersion).reason;

/** Starts a Kafka that ends with this process at the latest. */
export const startKafka = (options: ClusterOptions = {}): Promise<Cluster> =>
  library.startKafka({ ...ofVersion, ...options });
