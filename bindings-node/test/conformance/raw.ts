import { addon, errorFromThrown, type Notice } from '../../ts/native';
import { until } from '../support/native';

const HEADER_BYTES = 40;

/** A record as bytes; `null` is Kafka's null. */
export interface RawRecord {
  readonly topic: string;
  readonly key?: string | null;
  readonly value: string | null;
}

function frame(slot: number, topicId: number, { key = null, value }: RawRecord): Buffer {
  const [keyBytes, valueBytes] = [key, value].map((text) => Buffer.from(text ?? ''));
  if (keyBytes === undefined || valueBytes === undefined) throw new Error('no bytes');
  const length = (HEADER_BYTES + keyBytes.length + valueBytes.length + 7) & ~7;
  const bytes = Buffer.alloc(length);
  bytes.writeUInt32LE(length, 0);
  bytes.writeUInt32LE(slot, 4);
  bytes.writeUInt16LE(topicId, 8);
  bytes.writeInt32LE(-1, 12);
  bytes.writeInt32LE(key === null ? -1 : keyBytes.length, 16);
  bytes.writeInt32LE(value === null ? -1 : valueBytes.length, 24);
  bytes.writeBigInt64LE(-1n, 32);
  keyBytes.copy(bytes, HEADER_BYTES);
  valueBytes.copy(bytes, HEADER_BYTES + keyBytes.length);
  return bytes;
}

/** Stores records that need not be events, one after the other, past everything that the bus checks. */
export async function writeRaw(brokers: readonly string[], records: readonly RawRecord[]) {
  const native = new (addon().NativeBus)(() => {});
  const notices: Notice[] = [];
  const take = () => notices.push(...JSON.parse(native.takeNotices() ?? '[]'));
  const answered = (op: number): boolean => {
    take();
    const result = notices.find((notice) => notice.type === 'result' && notice.op === op);
    if (result?.type === 'result' && result.error) throw new Error(JSON.stringify(result.error));
    return result !== undefined;
  };
  try {
    native.connect(1, JSON.stringify({ clientId: 'raw', brokers }));
    await until(() => answered(1), 'the connection of the raw writer', 30_000);
    const [out, status] = [new Int32Array(5), new Int32Array(2)];
    for (const [slot, record] of records.entries()) {
      const bytes = frame(slot, native.topicId(record.topic), record);
      if (!native.publish(bytes, bytes.length, 1)) throw new Error('the raw writer is closed');
      await until(() => native.pump(out, status) === 1, 'the acknowledgement of a record', 30_000);
      if (out[1] !== 0) throw new Error(native.failure(slot));
    }
    native.shutdown(2, 10_000);
    await until(() => answered(2), 'the end of the raw writer', 15_000);
  } catch (thrown) {
    throw thrown instanceof Error ? thrown : errorFromThrown(thrown);
  } finally {
    native.release();
  }
}
