import type { Abortable, AbortSignalLike } from './abort';
import type { Expiring } from './deadline';
import type { PublishOutcome } from './error';
import { aborted, timedOut } from './refusal';

/** @internal */
export type Resolve = (value: undefined) => void;

/**
 * `index` is that of the event in its call; it matters to `publishMany` only.
 *
 * @internal
 */
export type Reject = (error: unknown, index: number) => void;

/** @internal */
export interface PendingOwner {
  /** Nothing may call the publish any more. */
  forget(pending: Pending): void;
  /** The caller does not wait any longer; says what is known of the event. */
  giveUp(pending: Pending): PublishOutcome;
  count(error: unknown): void;
}

/**
 * A publish that waits, or that can end before its slot does.
 *
 * @internal
 */
export class Pending implements Expiring, Abortable {
  slot = -1;
  /** Its bytes while it waits. */
  frame: Buffer | undefined;

  constructor(
    private readonly publisher: PendingOwner,
    private readonly settle: Resolve,
    private readonly fail: Reject,
    readonly index: number,
    readonly topic: string,
    readonly topicId: number,
    /** Bytes of the record, as they count against the caps. */
    readonly size: number,
    readonly deadline: number,
    readonly signal: AbortSignalLike | undefined,
  ) {}

  readonly resolve: Resolve = () => {
    this.publisher.forget(this);
    this.settle(undefined);
  };

  readonly reject: Reject = (error) => {
    this.publisher.forget(this);
    this.fail(error, this.index);
  };

  expire(): void {
    const outcome = this.publisher.giveUp(this);
    const error = timedOut(outcome, this.topic);
    this.publisher.count(error);
    this.fail(error, this.index);
  }

  abort(signal: AbortSignalLike): void {
    const error = aborted(signal, this.publisher.giveUp(this), this.topic);
    this.publisher.count(error);
    this.fail(error, this.index);
  }
}
