import type { MemberTexts } from './members';
import type { SerializedEvent } from './serialize';

// The publish frame, little endian: the byte order of every platform that this package is built for.
//
//   0 u32 length of the whole frame, a multiple of 8      20 i32 headersLen
//   4 u32 slot                                            24 i32 valueLen (-1 null)
//   8 u16 topicId | u16 flags                             28 u16 eventIdLen | u16 versionLen
//  12 i32 partition (-1: chosen by key)                   32 i64 timestamp (-1: now)
//  16 i32 keyLen (-1 null)                                40 key | headers | value | padding
//
// With flag ENVELOPE the headers are three bare texts: eventId, version, ISO text of occurredOn. With PAYLOAD the value
// is the event's payload, around which the core writes the event; with MEMBERS it is
//
//   names and values of the payload's members as bare texts | up to 3 bytes | i32 lengths of each | u32 members
//
// where a length of -1 - n stands for n bytes that are JSON already.

const HEADER_BYTES = 40;
const ENVELOPE = 1;
/** No frame has that slot while it is a draft. */
const NO_SLOT = -1;
/** UTF-8 needs at most so many bytes for one UTF-16 code unit. */
const MAX_BYTES_PER_UNIT = 3;
/** `eventIdLen` and `versionLen` are u16. */
export const MAX_EVENT_ID_BYTES = 0xffff;

/**
 * How many bytes the frame of an event takes at most.
 *
 * @internal
 */
export function frameBound(event: SerializedEvent): number {
  const units =
    event.key.length +
    event.eventId.length +
    event.version.length +
    event.timestamp.length +
    event.value.length;
  const table = event.members === undefined ? 0 : 4 * event.members.count + 8;
  return HEADER_BYTES + units * MAX_BYTES_PER_UNIT + table + 8;
}

/**
 * Frames one after the other in memory of their own, to be handed to the addon together.
 *
 * @internal
 */
export class Frames {
  readonly bytes: Buffer;
  readonly #words: Int32Array;
  /** Bytes in use. */
  length = 0;
  /** Frames in use. */
  count = 0;

  constructor(capacity: number) {
    // Memory of its own: a slice of Node's pool need not begin at a multiple of 4.
    this.bytes = Buffer.allocUnsafeSlow((capacity + 7) & ~7);
    this.#words = new Int32Array(this.bytes.buffer, 0, this.bytes.length >> 2);
  }

  fits(bytes: number): boolean {
    return this.length + bytes <= this.bytes.length;
  }

  /**
   * Writes a frame behind those in use, which must {@link fits fit} its {@link frameBound}. It is in use only
   * after {@link commit}.
   *
   * @returns its length in bytes
   */
  draft(topicId: number, event: SerializedEvent): number {
    const { key, eventId, version, timestamp, value } = event;
    const start = this.length;
    const { bytes } = this;
    let at = start + HEADER_BYTES;
    // One write for all: a call costs more than the bytes of a short text. If it took a byte per code unit, all of
    // them are ASCII and their lengths are those of the strings.
    const prefix = key + eventId + version + timestamp;
    const total = bytes.write(prefix + value, at);
    const ascii = total === prefix.length + value.length;
    const keyBytes = ascii ? key.length : Buffer.byteLength(key);
    const eventIdBytes = ascii ? eventId.length : Buffer.byteLength(eventId);
    const prefixBytes = ascii ? prefix.length : Buffer.byteLength(prefix);
    at += total;
    if (event.members !== undefined) at = this.#writeTable(event.members, at, ascii);
    const valueBytes = at - start - HEADER_BYTES - prefixBytes;
    const length = (at - start + 7) & ~7;
    const words = this.#words;
    const word = start >> 2;
    words[word] = length;
    words[word + 1] = NO_SLOT;
    words[word + 2] = topicId | ((ENVELOPE | event.form) << 16);
    words[word + 3] = -1;
    words[word + 4] = keyBytes;
    words[word + 5] = prefixBytes - keyBytes;
    words[word + 6] = valueBytes;
    words[word + 7] = eventIdBytes | (version.length << 16);
    words[word + 8] = -1;
    words[word + 9] = -1;
    return length;
  }

  /** Writes how many bytes each text has, behind the texts, and returns where it ends. */
  #writeTable({ texts, lengths, count }: MemberTexts, at: number, ascii: boolean): number {
    const words = this.#words;
    let word = (at + 3) >> 2;
    let unit = 0;
    for (let index = 0; index < count; index += 1) {
      const length = lengths[index] as number;
      if (ascii) {
        words[word] = length;
      } else {
        const end = unit + (length < 0 ? ~length : length);
        const bytes = Buffer.byteLength(texts.slice(unit, end));
        words[word] = length < 0 ? ~bytes : bytes;
        unit = end;
      }
      word += 1;
    }
    words[word] = count >> 1;
    return (word + 1) << 2;
  }

  /** Takes the frame that was drafted last into use, on behalf of a slot. */
  commit(slot: number, length: number): void {
    this.#words[(this.length >> 2) + 1] = slot;
    this.length += length;
    this.count += 1;
  }

  /** A copy of the frame that was drafted last. */
  copyDraft(length: number): Buffer {
    const copy = Buffer.allocUnsafe(length);
    this.bytes.copy(copy, 0, this.length, this.length + length);
    return copy;
  }

  /** Takes a copied frame into use, on behalf of a slot. It must {@link fits fit}. */
  append(frame: Buffer, slot: number): void {
    this.bytes.set(frame, this.length);
    this.commit(slot, frame.length);
  }

  /** The slots of the frames in use, in their order. */
  slots(): number[] {
    const slots: number[] = [];
    for (let at = 0; at < this.length; at += this.#words[at >> 2] as number) {
      slots.push(this.#words[(at >> 2) + 1] as number);
    }
    return slots;
  }

  clear(): void {
    this.length = 0;
    this.count = 0;
  }
}
