import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, root } from '../exec.mjs';
import { readLines } from './verdict.mjs';

const PROGRAM = join(root, 'dev/lib/integrity/member.mjs');

/** The processes of one consumer group, each in a place that the next one takes when it has ended. */
export class Members {
  #files = [];
  #running = [];

  /**
   * @param {string} folder for what they write, a file each
   * @param {{brokers: string[], groupId: string, eventType: string, config: object}} group
   * @param {boolean} isStatic whether whoever takes a place is the same member to the group
   */
  constructor(folder, group, isStatic = false) {
    this.folder = folder;
    this.group = group;
    this.isStatic = isStatic;
  }

  /** @returns {string} the file of the member that takes the place */
  start(place) {
    const file = join(this.folder, `member-${this.#files.length}.txt`);
    this.#files.push(file);
    const name = this.isStatic ? { groupInstanceId: `member-${place}` } : {};
    const config = { ...this.group.config, ...name };
    const input = JSON.stringify({ ...this.group, config, file });
    this.#running[place] = spawn(process.execPath, [PROGRAM, input], {
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    return file;
  }

  async end(place, signal) {
    const child = this.#running[place];
    const gone = once(child, 'exit');
    if (child.exitCode !== null || child.signalCode !== null || !child.kill(signal))
      throw new Failure(`member ${place} had ended by itself`);
    await gone;
  }

  async stop() {
    await Promise.all(this.#running.map((_, place) => this.end(place, 'SIGTERM')));
  }

  abandon() {
    for (const child of this.#running) child.kill('SIGKILL');
  }

  lines() {
    return this.#files.map((file) =>
      existsSync(file) ? readLines(readFileSync(file, 'utf8')) : [],
    );
  }
}
