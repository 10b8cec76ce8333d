import type { KafkaConfig } from './config';
import type { BaseEventPayload } from './event';
import { InMemoryEventBus } from './in-memory/InMemoryEventBus';
import { KafkaEventBus } from './kafka/KafkaEventBus';

/** Makes an {@link InMemoryEventBus}; call `connect()` before the first publish. */
export function createInMemoryEventBus<
  T extends BaseEventPayload = BaseEventPayload,
>(): InMemoryEventBus<T> {
  return new InMemoryEventBus<T>();
}

/**
 * Makes a {@link KafkaEventBus}; call `connect()` before the first publish. `brokers`, `clientId` and
 * `groupId` come from `KAFKA_BROKERS`, `KAFKA_CLIENT_ID` and `KAFKA_GROUP_ID` where the configuration
 * leaves them out.
 *
 * @throws `ConfigError` that names the option
 */
export function createKafkaEventBus<T extends BaseEventPayload = BaseEventPayload>(
  config: Partial<KafkaConfig> = {},
): KafkaEventBus<T> {
  return KafkaEventBus.fromEnv<T>(config);
}
