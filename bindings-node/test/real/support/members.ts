import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One line of what a member wrote: see member.mjs. */
export type Entry =
  | { readonly kind: 'A' | 'R'; readonly partitions: readonly number[] }
  | { readonly kind: 'S' | 'E'; readonly seq: number; readonly key: string; readonly at: bigint };

function parse(line: string): Entry {
  const [kind, ...words] = line.split(' ');
  if (kind === 'A' || kind === 'R') {
    return { kind, partitions: words.map((word) => Number(/(\d+)\D*$/.exec(word)?.[1])) };
  }
  if (kind === 'S' || kind === 'E') {
    return { kind, seq: Number(words[0]), key: words[1] ?? '', at: BigInt(words[2] ?? '') };
  }
  throw new Error(`a member wrote ${JSON.stringify(line)}`);
}

/** A process of member.mjs and what it has written so far. */
export class Member {
  readonly entries: Entry[] = [];
  readonly #process: ChildProcess;
  readonly #file: number;
  readonly #chunk = Buffer.alloc(1 << 16);
  #position = 0;
  #rest = '';
  #errors = '';

  constructor(options: object, file: string) {
    this.#file = openSync(file, 'a+');
    const script = join(__dirname, 'member.mjs');
    this.#process = spawn(process.execPath, [script, JSON.stringify({ ...options, file })], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process.stderr?.on('data', (data) => {
      this.#errors += data;
    });
  }

  /** Reads on; throws if the process has ended by itself. */
  read(): void {
    const { exitCode } = this.#process;
    for (;;) {
      const length = readSync(this.#file, this.#chunk, 0, this.#chunk.length, this.#position);
      if (length === 0) break;
      this.#position += length;
      const lines = (this.#rest + this.#chunk.toString('utf8', 0, length)).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) this.entries.push(parse(line));
    }
    if (exitCode !== null && exitCode !== 0) {
      throw new Error(`a member ended with ${exitCode}: ${this.#errors}`);
    }
  }

  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode === null && signalCode === null) {
      const ended = once(this.#process, 'exit');
      this.#process.kill(signal);
      await ended;
    }
    this.read();
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** The members of one group, those that were killed included. */
export class Members {
  readonly all: Member[] = [];
  readonly #dir = mkdtempSync(join(tmpdir(), 'evbus-members-'));

  constructor(readonly options: { readonly seed: number; readonly [name: string]: unknown }) {}

  start(): Member {
    const number = this.all.length;
    const options = { ...this.options, seed: this.options.seed + number };
    const member = new Member(options, join(this.#dir, String(number)));
    this.all.push(member);
    return member;
  }

  read(): void {
    for (const member of this.all) member.read();
  }

  async end(): Promise<void> {
    await Promise.all(this.all.map((member) => member.end('SIGKILL')));
    for (const member of this.all) member.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
