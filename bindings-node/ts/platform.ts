import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { FatalError } from './error';

const PACKAGE = '@repo-packages/i_event-bus';

/**
 * The platform as the addon's file and its npm packages name it: `<platform>-<arch>`, and on Linux
 * the C library too, because an addon built for one does not load on the other.
 *
 * @example 'linux-x64-gnu', 'linux-arm64-musl', 'darwin-arm64', 'win32-x64'
 */
export function platformName(): string {
  const name = `${process.platform}-${process.arch}`;
  return process.platform === 'linux' ? `${name}-${linuxLibc()}` : name;
}

/** The addon's file name for this platform, e.g. `i-event-bus.linux-x64-gnu.node`. */
export function addonFileName(): string {
  return `i-event-bus.${platformName()}.node`;
}

/** The npm package that brings the addon for this platform. */
export function addonPackage(): string {
  return `${PACKAGE}-${platformName()}`;
}

/**
 * Loads the addon: the one built in this checkout or packed beside this module, else the one of the
 * platform's package.
 *
 * @throws {@link FatalError} that names the platform and where it looked
 * @internal
 */
export function loadAddon(): unknown {
  const require = createRequire(__filename);
  // Run from the sources, as the tests do, the build lies in the folder dist of the checkout.
  const folder = basename(__dirname) === 'ts' ? join(__dirname, '..', '..', 'dist') : __dirname;
  const local = join(folder, addonFileName());
  const target = existsSync(local) ? local : addonPackage();
  try {
    return require(target);
  } catch (cause) {
    const missing = (cause as { code?: unknown }).code === 'MODULE_NOT_FOUND';
    const reason = missing ? 'not found' : cause instanceof Error ? cause.message : String(cause);
    throw new FatalError(
      `cannot load the native addon for ${platformName()}, Node ${process.versions.node}: ${target}: ${reason}`,
      {
        kind: 'Internal',
        hint: missing
          ? `install with optional dependencies on the platform that runs it, so that ${addonPackage()} comes along; in a checkout: npm run build. There is no file ${local} either`
          : 'the file is there but does not load; the reason above is the system loader’s',
        cause,
      },
    );
  }
}

function linuxLibc(): 'gnu' | 'musl' {
  // The report resolves the peers of open sockets unless told otherwise, which can take seconds.
  const report = process.report as typeof process.report & { excludeNetwork?: boolean };
  const before = report.excludeNetwork;
  report.excludeNetwork = true;
  try {
    const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
    return header?.glibcVersionRuntime ? 'gnu' : 'musl';
  } finally {
    if (before !== undefined) report.excludeNetwork = before;
  }
}
