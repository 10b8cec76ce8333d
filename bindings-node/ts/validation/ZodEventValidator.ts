import type { BaseEventPayload, IDomainEvent } from '../event';

// zod is an optional peer. Where it is not installed, the declarations must compile all the same: the
// two types are any then. Only a doc comment survives into the declaration file.

// biome-ignore lint/suspicious/noTsIgnore: an error is expected only where zod is missing
/** @ts-ignore */
type ZodError = import('zod').ZodError;

// biome-ignore lint/suspicious/noTsIgnore: an error is expected only where zod is missing
/** @ts-ignore */
type ZodType = import('zod').ZodType;

/** Why the payload of an event does not satisfy the schema of its type. */
export interface EventValidationError {
  eventId: string;
  eventType: string;
  errors: ZodError;
}

/** What is used of a schema. Any copy of zod 3 or 4 makes such, zod/mini too. */
export interface EventSchema {
  safeParse(data: unknown): { success: boolean; error?: unknown };
}

/**
 * Checks payloads against zod schemas by event type. An event whose type has no schema is valid.
 *
 * @typeParam T - the payload
 *
 * @example
 * ```ts
 * const validator = new ZodEventValidator<OrderPlaced>();
 * validator.registerSchema(
 *   'order.placed',
 *   z.object({ eventType: z.literal('order.placed'), timestamp: z.date(), total: z.number() }),
 * );
 * validator.validateOrThrow(event);
 * await bus.publish(event);
 * ```
 */
export class ZodEventValidator<T extends BaseEventPayload = BaseEventPayload> {
  readonly #schemas = new Map<string, EventSchema>();

  /** Sets the schema for the payloads of an event type, in place of an earlier one. */
  registerSchema(eventType: string, schema: EventSchema): void {
    this.#schemas.set(eventType, schema);
  }

  unregisterSchema(eventType: string): void {
    this.#schemas.delete(eventType);
  }

  /** Null when the payload satisfies the schema, or there is none for the event's type. */
  validate(event: IDomainEvent<T>): EventValidationError | null {
    const result = this.#schemas.get(event.eventType)?.safeParse(event.payload);
    if (result === undefined || result.success) return null;
    const { eventId, eventType } = event;
    return { eventId, eventType, errors: result.error as ZodError };
  }

  /**
   * @throws `Error` with the message `Event validation failed for TYPE (ID): ` and every issue with
   * its path; its `cause` is the `ZodError`
   */
  validateOrThrow(event: IDomainEvent<T>): void {
    const failure = this.validate(event);
    if (failure === null) return;
    const { eventId, eventType, errors } = failure;
    const { issues } = errors as { issues: readonly Issue[] };
    const reasons = issues.map(({ path, message }) =>
      path.length === 0 ? message : `${path.map(String).join('.')}: ${message}`,
    );
    throw new Error(
      `Event validation failed for ${eventType} (${eventId}): ${reasons.join('; ')}`,
      {
        cause: errors,
      },
    );
  }

  hasSchema(eventType: string): boolean {
    return this.#schemas.has(eventType);
  }

  getSchema(eventType: string): ZodType | undefined {
    return this.#schemas.get(eventType) as ZodType | undefined;
  }

  clearSchemas(): void {
    this.#schemas.clear();
  }
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}
