import type { DeliveryBatch, NativeBus } from '../../ts/native';

/** A frame as the addon reads it. */
export interface ReadFrame {
  readonly slot: number;
  readonly topicId: number;
  readonly partition: number;
  readonly key: string;
  readonly eventId: string;
  readonly version: string;
  readonly timestamp: string;
  readonly value: string;
}

/** The JSON of a payload whose members are bare texts. */
function readMembers(section: Buffer): string {
  const count = section.readUint32LE(section.length - 4);
  const table = section.length - 4 - 8 * count;
  let at = 0;
  const take = (length: number) => {
    at += length;
    return section.toString('utf8', at - length, at);
  };
  const members = Array.from({ length: count }, (_, index) => {
    const name = JSON.stringify(take(section.readInt32LE(table + 8 * index)));
    const length = section.readInt32LE(table + 8 * index + 4);
    return `${name}:${length < 0 ? take(-1 - length) : JSON.stringify(take(length))}`;
  });
  if (table - at > 3 || table < at) throw new Error(`${at} bytes of texts in front of ${table}`);
  return `{${members.join(',')}}`;
}

/** Reads frames by the layout that the core documents, independently of what writes them. */
export function readFrames(
  bytes: Uint8Array,
  length: number,
  count: number,
  topicOf: (id: number) => string | undefined,
): ReadFrame[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, length);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, length);
  const frames: ReadFrame[] = [];
  for (let at = 0; at < length; at += view.getUint32(at, true)) {
    const flags = view.getUint16(at + 10, true);
    if (flags !== 1 && flags !== 3 && flags !== 5) throw new Error(`flags are ${flags}`);
    if (view.getBigInt64(at + 32, true) !== -1n) throw new Error('the timestamp is not now');
    const keyEnd = at + 40 + view.getInt32(at + 16, true);
    const headersEnd = keyEnd + view.getInt32(at + 20, true);
    const valueEnd = headersEnd + view.getInt32(at + 24, true);
    const eventIdEnd = keyEnd + view.getUint16(at + 28, true);
    const versionEnd = eventIdEnd + view.getUint16(at + 30, true);
    const padded = Math.ceil((valueEnd - at) / 8) * 8;
    if (padded !== view.getUint32(at, true)) throw new Error(`length is not ${padded}`);
    const text = (from: number, to: number) => buffer.toString('utf8', from, to);
    const topicId = view.getUint16(at + 8, true);
    const key = text(at + 40, keyEnd);
    const eventId = text(keyEnd, eventIdEnd);
    const version = text(eventIdEnd, versionEnd);
    const timestamp = text(versionEnd, headersEnd);
    let value = text(headersEnd, valueEnd);
    if (flags === 5) value = readMembers(buffer.subarray(headersEnd, valueEnd));
    if (flags !== 1) {
      const [before] = JSON.stringify({
        eventId,
        eventType: topicOf(topicId),
        occurredOn: timestamp,
        aggregateId: key,
        version: Number(version),
        payload: 0,
      }).split(/0}$/);
      value = `${before}${value}}`;
    }
    const slot = view.getUint32(at + 4, true);
    const partition = view.getInt32(at + 12, true);
    frames.push({ slot, topicId, partition, key, eventId, version, timestamp, value });
  }
  if (frames.length !== count) throw new Error(`${frames.length} frames instead of ${count}`);
  return frames;
}

/** The publishing part of the addon: keeps frames, completes them when told to. */
export class FakePublishPort implements Pick<NativeBus, 'topicId' | 'publish' | 'failure'> {
  readonly frames: ReadFrame[] = [];
  /** How many frames came with each call. */
  readonly calls: number[] = [];
  closed = false;
  failures = new Map<number, object>();
  #topics: string[] = [];

  topicId(topic: string): number {
    const id = this.#topics.indexOf(topic);
    return id >= 0 ? id : this.#topics.push(topic) - 1;
  }

  topicName(id: number): string | undefined {
    return this.#topics[id];
  }

  publish(arena: Uint8Array, length: number, count: number): boolean {
    if (this.closed) return false;
    this.calls.push(count);
    this.frames.push(...readFrames(arena, length, count, (id) => this.#topics[id]));
    return true;
  }

  failure(slot: number): string {
    return JSON.stringify(this.failures.get(slot));
  }
}

/** An error as the core tells it. */
export function nativeError(kind: string, more: object = {}): object {
  const [number, code, errorClass] = {
    Timeout: [10, 'EVBUS_TIMEOUT', 'TimeoutError'],
    Rejected: [16, 'EVBUS_REJECTED', 'PublishError'],
  }[kind] as [number, string, string];
  const message = `the core says ${kind}`;
  return {
    kind,
    number,
    code,
    class: errorClass,
    message,
    retryable: false,
    fatal: false,
    context: {},
    ...more,
  };
}

/** A delivery to be packed. */
export interface FakeDelivery {
  readonly lane?: number;
  readonly topicId: number;
  readonly partition?: number;
  readonly offset: number;
  /** The record's timestamp. */
  readonly time?: number;
  readonly slot?: number;
  readonly epoch?: number;
  readonly key?: string;
  readonly headers?: readonly (readonly [name: string, value: string | null])[];
  readonly value: string;
  readonly attempt?: number;
  readonly last?: boolean;
  readonly occurredOn?: number;
}

/** Packs headers by the layout that the core documents. */
export function packHeaders(headers: Required<FakeDelivery>['headers']): Buffer {
  const parts = headers.flatMap(([name, value]) => {
    const lengths = [Buffer.alloc(2), Buffer.alloc(4)] as const;
    lengths[0].writeUInt16LE(Buffer.byteLength(name));
    lengths[1].writeInt32LE(value === null ? -1 : Buffer.byteLength(value));
    return [lengths[0], Buffer.from(name), lengths[1], Buffer.from(value ?? '')];
  });
  return Buffer.concat(parts);
}

const halves = (number: number): [number, number] => [number | 0, Math.floor(number / 2 ** 32)];

/** Packs deliveries by the layout that the core documents. The ticket's sequence is the offset. */
export function packDeliveries(deliveries: readonly FakeDelivery[]): DeliveryBatch {
  const parts: Buffer[] = [];
  const index = new Int32Array(deliveries.length * 18);
  let position = 0;
  const add = (bytes: Buffer): number => {
    parts.push(bytes);
    position += bytes.length;
    return position - bytes.length;
  };
  deliveries.forEach((delivery, row) => {
    const { lane = 0, topicId, partition = 0, offset, slot = 0, epoch = 1, time } = delivery;
    const { key, headers = [], attempt = 1, last = false, occurredOn } = delivery;
    const keyAt = add(Buffer.from(key ?? ''));
    const headersAt = add(packHeaders(headers));
    const valueAt = add(Buffer.from(delivery.value));
    const flags =
      (time === undefined ? 0 : 1) | (occurredOn === undefined ? 0 : 2) | (last ? 4 : 0);
    const columns = [
      ...[lane, topicId, partition, ...halves(offset), ...halves(time ?? 0)],
      ...[offset | 0, slot | (epoch << 16), keyAt, key === undefined ? -1 : headersAt - keyAt],
      ...[headersAt, valueAt, position - valueAt, attempt, flags, ...halves(occurredOn ?? 0)],
    ];
    index.set(columns, row * 18);
  });
  const data = Buffer.concat(parts);
  return { data, index, isAscii: data.every((byte) => byte < 0x80) };
}

/** Resolves when the condition holds; rejects at the deadline. */
export async function until(
  condition: () => boolean,
  what: string,
  timeoutMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
