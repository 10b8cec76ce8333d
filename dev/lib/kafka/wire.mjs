import { connect } from 'node:net';

/** Writes the primitive types of Kafka's protocol (the versions without tagged fields). */
export class Writer {
  #parts = [];

  #number(size, write) {
    const part = Buffer.alloc(size);
    write(part);
    this.#parts.push(part);
    return this;
  }
  int8(value) {
    return this.#number(1, (part) => part.writeInt8(value));
  }
  int16(value) {
    return this.#number(2, (part) => part.writeInt16BE(value));
  }
  int32(value) {
    return this.#number(4, (part) => part.writeInt32BE(value));
  }
  bool(value) {
    return this.int8(value ? 1 : 0);
  }
  string(value) {
    if (value === null) return this.int16(-1);
    const bytes = Buffer.from(value);
    this.int16(bytes.length);
    this.#parts.push(bytes);
    return this;
  }
  array(values, write) {
    if (values === null) return this.int32(-1);
    this.int32(values.length);
    for (const value of values) write(this, value);
    return this;
  }
  bytes() {
    return Buffer.concat(this.#parts);
  }
}

/** Reads what `Writer` writes. */
export class Reader {
  #at = 0;
  constructor(bytes) {
    this.bytes = bytes;
  }
  #skip(size) {
    const at = this.#at;
    this.#at += size;
    return at;
  }
  int8() {
    return this.bytes.readInt8(this.#skip(1));
  }
  int16() {
    return this.bytes.readInt16BE(this.#skip(2));
  }
  int32() {
    return this.bytes.readInt32BE(this.#skip(4));
  }
  bool() {
    return this.int8() !== 0;
  }
  string() {
    const length = this.int16();
    if (length < 0) return null;
    const at = this.#skip(length);
    return this.bytes.toString('utf8', at, at + length);
  }
  array(read) {
    const length = this.int32();
    return Array.from({ length: Math.max(length, 0) }, () => read(this));
  }
}

/** A broker that could not be reached or did not answer: whether it carried out the request is not known. */
export class NoAnswer extends Error {}

/** One request on a connection of its own. Rejects with `NoAnswer` if none comes within `timeoutMs`. */
export function request({ host, port }, apiKey, apiVersion, body, timeoutMs = 5_000) {
  const head = new Writer().int16(apiKey).int16(apiVersion).int32(1).string('dev-kafka').bytes();
  const size = new Writer().int32(head.length + body.length).bytes();
  return new Promise((resolve, reject) => {
    const fail = (why) => reject(new NoAnswer(`${host}:${port}: ${why}`));
    const socket = connect({ host, port });
    const timer = setTimeout(() => {
      fail(`no answer within ${timeoutMs} ms`);
      socket.destroy();
    }, timeoutMs);
    let got = Buffer.alloc(0);
    socket.once('connect', () => socket.write(Buffer.concat([size, head, body])));
    socket.on('data', (chunk) => {
      got = Buffer.concat([got, chunk]);
      if (got.length < 4 || got.length < 4 + got.readInt32BE(0)) return;
      resolve(new Reader(got.subarray(8)));
      socket.destroy();
    });
    socket.once('error', (error) => fail(error.message));
    socket.once('close', () => {
      clearTimeout(timer);
      fail('closed the connection without an answer');
    });
  });
}
