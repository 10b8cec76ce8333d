import type { EventBusError } from '../../ts/error';

/** A promise and what settles it. */
export function gate(): { readonly open: () => void; readonly opened: Promise<void> } {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** What a promise is rejected with; the caller asserts that it is of that type. */
export const rejection = <E = EventBusError>(promise: Promise<unknown>): Promise<E> =>
  promise.then(
    () => {
      throw new Error('it did not reject');
    },
    (error: E) => error,
  );
