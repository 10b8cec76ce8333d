// One way to call cargo. Another choice of packages or features means other builds of the C libraries, minutes each.

/** The packages and features of every build, check, test and documentation run. */
export const WORKSPACE = ['--workspace', '--features', 'i-event-bus/embedded'];

/** Makes cargo print what it made, for {@link artifacts}, and errors as ever. */
export const AS_JSON = '--message-format=json-render-diagnostics';

/**
 * What cargo made, read from its output.
 *
 * @param {readonly string[]} lines of a run with {@link AS_JSON}
 * @returns {{ target: { name: string, kind: string[] }, package_id: string, filenames: string[], executable: string | null }[]}
 */
export function artifacts(lines) {
  return lines
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .filter((line) => line.reason === 'compiler-artifact');
}
