import type { Call } from './call';
import { DeliveryContext, type HandlerContext } from './context';
import type { Batch } from './delivery';
import { CodecError, EventBusError, HandlerError } from './error';
import type { IDomainEvent } from './event';
import { codeOf, type Failure, messageOf, retryableOf } from './failure';
import type { ErrorContext, Reporter } from './logger';

/** As much of a message as goes on to the core, whose dead letters keep 1 KiB of it. */
const MAX_MESSAGE = 1024;

/** Text that UTF-8 has a form for: a surrogate without its partner would make the core refuse the answer. */
function wellFormed(text: string): string {
  return Buffer.from(text.slice(0, MAX_MESSAGE)).toString('utf8');
}

/**
 * Tells the log and `onError` what failed, and makes of it what the core needs to know.
 *
 * @internal
 */
export class FailureReports {
  readonly #reporter: Reporter;
  /** Handler failures so far. */
  failed = 0;
  /** Records so far that the core took for events and JavaScript cannot read. */
  unreadable = 0;
  /** Results of handlers so far that came after their timeout. */
  late = 0;

  constructor(reporter: Reporter) {
    this.#reporter = reporter;
  }

  handlerFailed(
    thrown: unknown,
    call: Call,
    event: IDomainEvent,
    topic: string,
    batch: Batch,
    at: number,
  ): Failure {
    this.failed += 1;
    const { registration } = call;
    const context = new DeliveryContext(topic, batch, at, call);
    const retryable = this.#judge(thrown, call, context);
    const { partition, offset, attempt } = context;
    const { eventId, eventType, aggregateId } = event;
    const willRetry = retryable !== false && !context.isLastAttempt;
    const message = `a handler of ${topic} failed on event ${eventId} (partition ${partition}, offset ${offset}, attempt ${attempt}): ${messageOf(thrown)}`;
    const error = new HandlerError(message, {
      attempt,
      topic,
      partition,
      cause: thrown,
      context: {
        eventId,
        aggregateId,
        offset: String(offset),
        handler: registration.name,
      },
    });
    const about: ErrorContext = {
      event: 'handler_failed',
      eventId,
      eventType,
      aggregateId,
      topic,
      partition,
      offset,
      handler: registration.name,
      attempt,
      willRetry,
    };
    this.#reporter.report(willRetry ? 'warn' : 'error', error, about, message);
    return {
      handler: wellFormed(registration.name),
      code: wellFormed(codeOf(thrown)),
      message: wellFormed(messageOf(thrown)),
      retryable,
    };
  }

  /** Whether another attempt may succeed; `undefined` leaves it to the policy, which then tries again. */
  #judge(thrown: unknown, call: Call, context: HandlerContext): boolean | undefined {
    const said = retryableOf(thrown);
    const { isRetryable } = call.registration;
    if (said !== undefined || isRetryable === undefined) return said;
    try {
      return isRetryable(thrown, context) !== false;
    } catch (failed) {
      const error = failed instanceof Error ? failed : new Error(String(failed));
      const message = `isRetryable failed, so the event is tried again: ${error.message}`;
      this.#reporter.log.write('error', 'is_retryable_failed', message, {}, error);
      return undefined;
    }
  }

  /** A handler gave up because nobody can use its result, which is no failure of the event. */
  gaveUp(thrown: unknown, call: Call, topic: string, batch: Batch, at: number): void {
    const where = { topic, partition: batch.partition(at), offset: batch.offset(at) };
    const message = `a handler of ${topic} ended behind its abort, and its event comes again: ${messageOf(thrown)}`;
    const fields = { ...where, handler: call.registration.name };
    this.#reporter.log.write('debug', 'handler_gave_up', message, fields);
  }

  /** A handler ended after its timeout; what it did then is of no use. */
  tooLate(call: Call, topic: string, batch: Batch, at: number): void {
    this.late += 1;
    const where = { topic, partition: batch.partition(at), offset: batch.offset(at) };
    const message = `a handler of ${topic} ended after its timeout, and its result is dropped`;
    const fields = { ...where, handler: call.registration.name, attempt: batch.attempt(at) };
    this.#reporter.log.write('warn', 'handler_late', message, fields);
  }

  unreadableRecord(thrown: unknown, topic: string, batch: Batch, at: number): Failure {
    this.unreadable += 1;
    const error =
      thrown instanceof EventBusError
        ? thrown
        : new CodecError(`the record cannot be read: ${messageOf(thrown)}`, { cause: thrown });
    const where = { topic, partition: batch.partition(at), offset: batch.offset(at) };
    const context: ErrorContext = {
      event: 'invalid_message',
      ...where,
      attempt: batch.attempt(at),
    };
    this.#reporter.report('warn', error, context, `a record is not an event: ${error.message}`);
    const message = wellFormed(error.message);
    return { handler: '', code: error.code, message, retryable: false };
  }
}
