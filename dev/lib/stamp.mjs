// "Is it up to date?" by content, because a fresh checkout gives every file a new time.

import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { root } from './exec.mjs';

const stampFile = (name) => join(root, 'node_modules', '.cache', 'i-event-bus', `${name}.json`);

/**
 * All files below a folder, as paths relative to the root, in a stable order.
 *
 * @param {string} folder relative to the root
 * @returns {string[]}
 */
export function filesBelow(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      return entry.isDirectory() ? filesBelow(path) : [path];
    })
    .sort();
}

/**
 * One digest over names and contents; a missing file counts as such.
 *
 * @param {readonly string[]} files relative to the root
 * @param {readonly string[]} [facts] anything else the result depends on
 */
export function digest(files, facts = []) {
  const hash = createHash('sha256');
  for (const file of files) {
    const path = join(root, file);
    hash.update(`${file}\0`);
    hash.update(existsSync(path) ? readFileSync(path) : 'missing');
    hash.update('\0');
  }
  for (const fact of facts) hash.update(`${fact}\0`);
  return hash.digest('hex');
}

/**
 * @param {string} name
 * @param {string} inputs what {@link digest} says of the inputs now
 * @returns {boolean} true when the same inputs made outputs that are all still there
 */
export function isFresh(name, inputs) {
  if (!existsSync(stampFile(name))) return false;
  const stamp = JSON.parse(readFileSync(stampFile(name), 'utf8'));
  return stamp.inputs === inputs && stamp.outputs.every((file) => existsSync(join(root, file)));
}

/**
 * @param {string} name
 * @param {string} inputs
 * @param {readonly string[]} outputs relative to the root
 */
export function writeStamp(name, inputs, outputs) {
  const path = stampFile(name);
  mkdirSync(dirname(path), { recursive: true });
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, JSON.stringify({ inputs, outputs }));
  renameSync(draft, path);
}
