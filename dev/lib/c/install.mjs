// libevbus, installed by CMake into an empty prefix and then moved, as a package or a user might.

import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { WORKSPACE } from '../cargo.mjs';
import { root } from '../exec.mjs';
import { must } from './command.mjs';

/**
 * @param {string} folder a scratch folder
 * @param {Record<string, string>} [env] for cargo
 * @returns {Promise<string>} the prefix, where it was moved to
 */
export async function install(folder, env = {}) {
  const build = join(folder, 'build');
  const prefix = join(folder, 'prefix');
  const moved = join(folder, 'elsewhere', 'evbus');
  mkdirSync(join(folder, 'elsewhere'));
  const options = [
    '-DEVBUS_PROFILE=dev',
    `-DEVBUS_TARGET_DIR=${join(root, 'target')}`,
    `-DEVBUS_CARGO_ARGS=${WORKSPACE.join(';')}`,
  ];
  await must(['cmake', '-S', 'bindings-c', '-B', build, ...options], { env });
  await must(['cmake', '--build', build], { env });
  await must(['cmake', '--install', build, '--prefix', prefix], { env });
  renameSync(prefix, moved);
  return moved;
}

/**
 * What compilers and programs need to find it.
 *
 * @param {string} prefix
 */
export const environment = (prefix) => ({
  PKG_CONFIG_PATH: join(prefix, 'lib/pkgconfig'),
  LD_LIBRARY_PATH: join(prefix, 'lib'),
  CMAKE_PREFIX_PATH: prefix,
});
