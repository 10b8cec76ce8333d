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

/** The addon's file name for this platform, e.g. `i-event-bus.linux-x64-gnu.node`. It lies beside this module. */
export function addonFileName(): string {
  return `i-event-bus.${platformName()}.node`;
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
