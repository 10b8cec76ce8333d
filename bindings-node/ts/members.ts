import { hasLoneSurrogate } from './event';
import { isOrdinaryDate, isoOf } from './iso';

/** Payloads with more are left to JSON.stringify. */
const MAX_MEMBERS = 128;
const NOTHING = {};

/**
 * The members of a payload as bare texts, one behind the other, and how long each of them is: quoting, escaping and
 * checking them is quicker in the core than JSON.stringify is here.
 *
 * @internal
 */
export class MemberTexts {
  /** Name, value, name, value, … */
  texts = '';
  /** Of each text in code units; that of a value which is JSON already, as -1 - length. */
  readonly lengths = new Int32Array(2 * MAX_MEMBERS);
  /** How many lengths there are. */
  count = 0;
  /** How many code units JSON needs beside the texts: braces, quotes, colons, commas. */
  marks = 0;

  /** @returns false for a payload whose JSON is not certain to be that of these texts */
  read(payload: unknown): boolean {
    if (typeof payload !== 'object' || payload === null) return false;
    if (Object.getPrototypeOf(payload) !== Object.prototype) return false;
    // Somebody gave every object a member of its own, which JSON does not write.
    for (const _ in NOTHING) return false;
    const { lengths } = this;
    let texts = '';
    let count = 0;
    let quoted = 0;
    for (const name in payload) {
      if (count === lengths.length || hasLoneSurrogate(name)) return false;
      const member = (payload as Record<string, unknown>)[name];
      let text: string;
      let length: number;
      if (typeof member === 'string') {
        if (hasLoneSurrogate(member)) return false;
        text = member;
        length = member.length;
        quoted += 1;
      } else if (typeof member === 'number') {
        text = Number.isFinite(member) ? `${member}` : 'null';
        length = ~text.length;
      } else if (typeof member === 'boolean' || member === null) {
        text = `${member}`;
        length = ~text.length;
      } else if (typeof member === 'object') {
        const json = objectJson(member);
        if (json === undefined) return false;
        text = json;
        length = ~text.length;
      } else {
        return false;
      }
      lengths[count] = name.length;
      lengths[count + 1] = length;
      count += 2;
      texts += name;
      texts += text;
    }
    this.texts = texts;
    this.count = count;
    const members = count >> 1;
    this.marks = 2 + 3 * members + 2 * quoted + Math.max(members - 1, 0);
    return true;
  }

  /** The JSON that the core makes of them. */
  toJson(): string {
    const members: string[] = [];
    let at = 0;
    for (let index = 0; index < this.count; index += 2) {
      const nameEnd = at + (this.lengths[index] as number);
      const length = this.lengths[index + 1] as number;
      const end = nameEnd + (length < 0 ? ~length : length);
      const text = this.texts.slice(nameEnd, end);
      const name = JSON.stringify(this.texts.slice(at, nameEnd));
      members.push(`${name}:${length < 0 ? text : JSON.stringify(text)}`);
      at = end;
    }
    return `{${members.join(',')}}`;
  }
}

/** `JSON.stringify(member)`; undefined where it could be another text within its object. */
function objectJson(member: object): string | undefined {
  if (isOrdinaryDate(member)) {
    const text = isoOf(member);
    return text === null ? 'null' : `"${text}"`;
  }
  // A toJSON is told the name of the member.
  if (typeof (member as { toJSON?: unknown }).toJSON === 'function') return undefined;
  return JSON.stringify(member);
}

const shared = new MemberTexts();
let reading = false;

/**
 * The members of an ordinary payload, until the next call; undefined for any other one.
 *
 * @internal
 */
export function memberTexts(payload: unknown): MemberTexts | undefined {
  // A getter or toJSON of the payload that is being read publishes another event.
  if (reading) return undefined;
  reading = true;
  try {
    return shared.read(payload) ? shared : undefined;
  } finally {
    reading = false;
  }
}
