import { describe, expect, it } from 'vitest';
import { AbortError } from '../ts/abort';
import { ArgumentError, ClosedError, CodecError, PublishError, TimeoutError } from '../ts/error';
import {
  codeOf,
  type Failure,
  FatalHandlerError,
  joined,
  messageOf,
  RetryableError,
  retryableOf,
} from '../ts/failure';

describe('errors for handlers to throw', () => {
  it.each([
    [RetryableError, true],
    [FatalHandlerError, false],
  ])('%o', (Class, retryable) => {
    const cause = new Error('why');
    const error = new Class('no stock', { cause, code: 'NO_STOCK' });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ message: 'no stock', retryable, code: 'NO_STOCK', cause });
    expect(error.name).toBe(Class.name);
    expect(new Class('no stock')).not.toHaveProperty('code');
    expect('cause' in new Class('no stock')).toBe(false);
    expect(retryableOf(error)).toBe(retryable);
  });
});

describe('whether another attempt may succeed', () => {
  it.each([
    ['an ordinary error', new Error('boom'), undefined],
    ['no object', 'boom', undefined],
    ['nothing', undefined, undefined],
    ['an error of another library that says so', { retryable: true }, true],
    ['an error of another library that denies it', { retryable: false }, false],
    ['a word instead of a boolean', { retryable: 'yes' }, undefined],
    ['a timeout of the bus', new TimeoutError('late'), true],
    ['an event that is none', new ArgumentError('no event'), false],
    ['what cannot be written', new CodecError('a cycle'), false],
    ['what is too large', new PublishError('large', { kind: 'TooLarge' }), false],
    ['a bus that is closed', new ClosedError('closed'), undefined],
    ['a publish that was refused', new PublishError('no', { kind: 'Rejected' }), undefined],
    ['an aborted publish', new AbortError('gone', AbortSignal.abort()), undefined],
  ])('%s', (_, thrown, expected) => {
    expect(retryableOf(thrown)).toBe(expected);
  });
});

describe('what a failure is called', () => {
  it.each([
    [new TypeError('boom'), 'TypeError', 'boom'],
    [Object.assign(new Error('boom'), { code: 'ECONNRESET' }), 'ECONNRESET', 'boom'],
    [Object.assign(new Error('boom'), { code: 5 }), 'Error', 'boom'],
    [new TimeoutError('late'), 'EVBUS_TIMEOUT', 'late'],
    ['boom', 'string', 'boom'],
    [null, 'object', 'null'],
    [undefined, 'undefined', 'undefined'],
    [{ name: '' }, 'Error', '[object Object]'],
  ])('%o', (thrown, code, message) => {
    expect([codeOf(thrown), messageOf(thrown)]).toEqual([code, message]);
  });
});

describe('failures of several handlers', () => {
  const failure = (handler: string, retryable?: boolean): Failure => ({
    handler,
    code: `C-${handler}`,
    message: `of ${handler}`,
    retryable,
  });

  it('are one that names all, and is fatal when all are', () => {
    expect(joined([failure('a', true)])).toEqual(failure('a', true));
    expect(joined([failure('a'), failure('b', false)])).toEqual({
      handler: 'a, b',
      code: 'C-a',
      message: 'of a (and 1 more handlers failed)',
      retryable: undefined,
    });
    expect(joined([failure('a', false), failure('b', false)]).retryable).toBe(false);
  });
});
