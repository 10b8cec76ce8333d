import type { BaseEventPayload } from './event';
import { InMemoryEventBus } from './in-memory/InMemoryEventBus';

/** Makes an {@link InMemoryEventBus}; call `connect()` before the first publish. */
export function createInMemoryEventBus<
  T extends BaseEventPayload = BaseEventPayload,
>(): InMemoryEventBus<T> {
  return new InMemoryEventBus<T>();
}
