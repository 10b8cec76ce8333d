import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, rmdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** Where everything of a version is kept, for all clones of the project. */
export function cacheDir(version) {
  return join(
    process.env.XDG_CACHE_HOME || join(homedir(), '.cache'),
    'i_event-bus',
    `kafka-${version}`,
  );
}

/** Where the jars of a version are. */
export function jarsDir(version) {
  return join(cacheDir(version), 'jars');
}

/** The class data archive of a version for the Java whose version text is given. */
export function archivePath(version, javaVersion) {
  return join(
    cacheDir(version),
    `classes-${createHash('sha256').update(javaVersion).digest('hex').slice(0, 12)}.jsa`,
  );
}

/** A name beside `target` that nobody else uses. */
export function draftOf(target) {
  return `${target}.${process.pid}-${randomBytes(4).toString('hex')}`;
}

/** Fills a directory beside `target` and gives it that name when whole, so that nobody ever sees half of it. */
export async function makeOnce(target, fill) {
  if (existsSync(target)) return target;
  const draft = draftOf(target);
  await mkdir(draft, { recursive: true });
  try {
    await fill(draft);
    await rename(draft, target);
  } catch (error) {
    // Somebody else was faster with the same content.
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
  } finally {
    await rm(draft, { recursive: true, force: true });
    // Nothing stays of a version that could not be had.
    await rmdir(dirname(target)).catch(() => {});
  }
  return target;
}
