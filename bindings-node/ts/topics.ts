import { errorFromThrown, type NativeBus } from './native';

/**
 * Topics and the numbers that stand for them in frames and deliveries.
 *
 * @internal
 */
export class Topics {
  readonly #native: Pick<NativeBus, 'topicId'>;
  readonly #ids = new Map<string, number>();
  readonly #names: string[] = [];

  constructor(native: Pick<NativeBus, 'topicId'>) {
    this.#native = native;
  }

  /** @throws `ArgumentError` for what is no topic name, `EventBusError` for too many topics */
  id(name: string): number {
    const known = this.#ids.get(name);
    if (known !== undefined) return known;
    let id: number;
    try {
      id = this.#native.topicId(name);
    } catch (thrown) {
      throw errorFromThrown(thrown);
    }
    this.#ids.set(name, id);
    this.#names[id] = name;
    return id;
  }

  /** The name behind a number that {@link id} gave. */
  name(id: number): string {
    return this.#names[id] as string;
  }
}
