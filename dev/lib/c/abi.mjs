// The binary interface that the header describes, held against a committed description of it.
//
// A library is made of the header alone, with a body for each function, because its debug information then names
// exactly the types of C; libabigail compares that.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, root } from '../exec.mjs';
import { must } from './command.mjs';

const SNAPSHOT = join(root, 'bindings-c/abi/libevbus.abi');

/** A library with the functions and types of the header. */
async function described(folder) {
  const [header, prototypes, source] = ['header.c', 'header.txt', 'libevbus.c'].map((name) =>
    join(folder, name),
  );
  const library = join(folder, 'libevbus.so');
  writeFileSync(header, '#include <evbus.h>\n');
  const include = ['-I', 'include'];
  await must(['gcc', ...include, '-aux-info', prototypes, '-fsyntax-only', header]);
  const functions = readFileSync(prototypes, 'utf8')
    .split('\n')
    .filter((line) => line.includes('evbus.h:'))
    .map((line) =>
      line.replace(/^\/\*.*?\*\/ extern /, '').replace(/;$/, ' { __builtin_trap(); }'),
    );
  writeFileSync(source, `#include <evbus.h>\n${functions.join('\n')}\n`);
  const flags = ['-g', '-gno-record-gcc-switches', '-shared', '-fPIC', '-Wl,-soname,libevbus.so.1'];
  await must(['gcc', ...include, ...flags, '-o', library, source]);
  return library;
}

/**
 * @param {string} folder a scratch folder
 * @param {boolean} update whether the description is to be written anew
 * @throws {Failure} when the interface is another one
 */
export async function compareAbi(folder, update) {
  const library = await described(folder);
  if (update) {
    const text = execFileSync('abidw', ['--no-comp-dir-path', '--no-corpus-path', library]);
    const named = text.toString().replaceAll(folder, '.');
    writeFileSync(SNAPSHOT, named);
    return;
  }
  try {
    await must(['abidiff', SNAPSHOT, library]);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw new Failure(
      'the binary interface is not the committed one: where it only grew, run node dev/test-c.mjs --update-abi and ' +
        'commit the result; else raise EVBUS_ABI_VERSION and the SONAME too',
    );
  }
}
