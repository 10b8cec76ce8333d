import { describe, expect, it, vi } from 'vitest';
import { FatalError } from '../ts/error';
import { addonFileName, addonPackage, loadAddon, platformName } from '../ts/platform';
import { thrownBy } from './support/events';

function withPlatform<T>(platform: string, arch: string, call: () => T): T {
  const before = { platform: process.platform, arch: process.arch };
  Object.defineProperties(process, { platform: { value: platform }, arch: { value: arch } });
  try {
    return call();
  } finally {
    Object.defineProperties(process, {
      platform: { value: before.platform },
      arch: { value: before.arch },
    });
  }
}

function withReport<T>(header: object, call: () => T): T {
  const report = process.report as NonNullable<typeof process.report>;
  const spy = vi.spyOn(report, 'getReport').mockReturnValue({ header } as never);
  try {
    return call();
  } finally {
    spy.mockRestore();
  }
}

describe('platformName', () => {
  it('tells the C libraries of Linux apart', () => {
    const name = (header: object) =>
      withReport(header, () => withPlatform('linux', 'arm64', platformName));
    expect(name({ glibcVersionRuntime: '2.36' })).toBe('linux-arm64-gnu');
    expect(name({})).toBe('linux-arm64-musl');
  });

  it('is platform and architecture elsewhere', () => {
    expect(withPlatform('darwin', 'arm64', platformName)).toBe('darwin-arm64');
    expect(withPlatform('win32', 'x64', addonFileName)).toBe('i-event-bus.win32-x64.node');
    expect(withPlatform('win32', 'x64', addonPackage)).toBe('@repo-packages/i_event-bus-win32-x64');
  });
});

describe('loadAddon', () => {
  it('says which platform has no addon, and what brings one', () => {
    const error = withPlatform('plan9', 'mips', () => thrownBy(loadAddon)) as FatalError;
    expect(error).toBeInstanceOf(FatalError);
    expect(error.message).toContain('cannot load the native addon for plan9-mips');
    expect(error.message).toContain('@repo-packages/i_event-bus-plan9-mips: not found');
    expect(error.hint).toContain('npm run build');
  });
});
