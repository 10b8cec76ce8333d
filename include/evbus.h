/*
 * evbus: domain events on Kafka, acknowledged and in order.
 *
 * Conventions of this header:
 *
 * - Names begin with evbus_ or EVBUS_; functions read evbus_<type>_<verb>.
 * - A function that can fail returns int32_t: EVBUS_OK (0) or one of the EVBUS_ERR_* codes. Codes keep their
 *   numbers for ever; new ones may come, so treat one that you do not know as a failure.
 * - Its last parameter is evbus_error **error: NULL, or where an error goes that says what failed, on what, why, and
 *   what to do. It is written only on failure, so begin with NULL, and free it with evbus_error_free.
 * - Parameters come in the order object, inputs, outputs. Outputs are written only on success, unless the function
 *   says otherwise. Outputs that "may be NULL" are left out with NULL.
 * - Objects are opaque. Whoever makes one frees it with the _free function of its type; _free(NULL) does nothing.
 *   Deliveries are counted: evbus_delivery_retain and evbus_delivery_release.
 * - Inputs are copied before a function returns, unless its comment says otherwise. Texts are UTF-8, ended by a NUL
 *   where they are const char *. NULL where it is not allowed, text that is not UTF-8, and an object of another type
 *   are EVBUS_ERR_ARGUMENT. Using an object after it was freed is an error of the program, which the library
 *   recognises often but not always.
 * - Each function says on which threads it may be called and whether it blocks. Objects may be used by several threads
 *   at once; freeing one while another thread uses it is an error of the program. A function that blocks answers
 *   EVBUS_ERR_ILLEGAL_STATE inside callbacks whose thread the bus needs.
 * - Callbacks must not leave by longjmp or an exception.
 * - After a fork the child can only call exec, if the parent had connected a bus or started a broker before: functions
 *   answer EVBUS_ERR_ILLEGAL_STATE there, and _free functions do nothing.
 * - The library installs no signal handler and prints nothing, but for the message of a defect of its own.
 * - No panic and no exception leaves the library: a defect of it is reported as EVBUS_ERR_INTERNAL, or as 0, false,
 *   NULL or an empty text by a function that returns no code.
 *
 * evbus_abi_check(EVBUS_ABI_VERSION, EVBUS_VERSION_NUMBER, &error) at the start of a program says whether this header
 * and the library that runs belong together.
 *
 * Generated from the sources of the library. Do not edit.
 */

#ifndef EVBUS_H
#define EVBUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Major version of the library that this header belongs to.
 */
#define EVBUS_VERSION_MAJOR 2

/**
 * Minor version of the library that this header belongs to.
 */
#define EVBUS_VERSION_MINOR 0

/**
 * Patch version of the library that this header belongs to.
 */
#define EVBUS_VERSION_PATCH 0

/**
 * The three as one number to compare: major * 10000 + minor * 100 + patch.
 */
#define EVBUS_VERSION_NUMBER 20000

/**
 * Version of the binary interface that this header describes; the number in the name of the shared library.
 */
#define EVBUS_ABI_VERSION 1

/**
 * Success.
 */
#define EVBUS_OK 0

/**
 * The configuration is invalid; the message names the option and the nearest known one.
 */
#define EVBUS_ERR_CONFIG 1

/**
 * A call got an argument that it cannot accept; nothing was sent.
 */
#define EVBUS_ERR_ARGUMENT 2

/**
 * The bus is closed or closing.
 */
#define EVBUS_ERR_CLOSED 3

/**
 * The call is not allowed now or on this thread.
 */
#define EVBUS_ERR_ILLEGAL_STATE 4

/**
 * The deadline passed first. Retryable.
 */
#define EVBUS_ERR_TIMEOUT 10

/**
 * A bounded queue is full; nothing was sent. Retryable.
 */
#define EVBUS_ERR_QUEUE_FULL 11

/**
 * No broker can serve the request now. Retryable.
 */
#define EVBUS_ERR_UNAVAILABLE 12

/**
 * The broker refused the credentials, or the TLS handshake failed.
 */
#define EVBUS_ERR_AUTH 13

/**
 * The topic does not exist and may not be created.
 */
#define EVBUS_ERR_UNKNOWN_TOPIC 14

/**
 * The record is larger than the client or the broker accepts.
 */
#define EVBUS_ERR_TOO_LARGE 15

/**
 * The broker refused the request for a reason that only a change can remove.
 */
#define EVBUS_ERR_REJECTED 16

/**
 * An event cannot be written as a record, or a record cannot be read as an event.
 */
#define EVBUS_ERR_CODEC 20

/**
 * A handler failed.
 */
#define EVBUS_ERR_HANDLER 21

/**
 * Another client took over this client's identity. Fatal.
 */
#define EVBUS_ERR_FENCED 30

/**
 * A defect of this library. Fatal.
 */
#define EVBUS_ERR_INTERNAL 99

/**
 * What is known about the record of a failed publish: nothing, because no publish failed.
 */
#define EVBUS_OUTCOME_NONE 0

/**
 * The record was certainly not stored: publishing it again cannot duplicate it.
 */
#define EVBUS_OUTCOME_NOT_SENT 1

/**
 * The record may have been stored: publishing it again can duplicate it.
 */
#define EVBUS_OUTCOME_UNKNOWN 2

/**
 * For someone who follows the bus step by step.
 */
#define EVBUS_LOG_DEBUG 0

/**
 * A normal change of state: connected, partitions assigned.
 */
#define EVBUS_LOG_INFO 1

/**
 * Something failed and the bus goes on by itself.
 */
#define EVBUS_LOG_WARN 2

/**
 * Something failed and needs someone.
 */
#define EVBUS_LOG_ERROR 3

/**
 * Handled: the event counts as finished.
 */
#define EVBUS_DONE 0

/**
 * The handler failed: the retry policy of the bus says what follows.
 */
#define EVBUS_RETRY 1

/**
 * No attempt can succeed: the event goes to the dead-letter topic at once.
 */
#define EVBUS_DEAD_LETTER 2

/**
 * Passed over on purpose: the event counts as finished.
 */
#define EVBUS_SKIP 3

/**
 * The handler goes on elsewhere and finishes later by evbus_delivery_finish. It must have called
 * evbus_delivery_retain before, else this counts as EVBUS_RETRY.
 */
#define EVBUS_PENDING 4

/**
 * The handler failed and no attempt can succeed: what follows the last attempt, as onExhausted says, follows at once.
 */
#define EVBUS_FATAL 5

/**
 * The oldest record of a partition, for evbus_bus_seek. Kafka's number for it.
 */
#define EVBUS_OFFSET_BEGINNING -2

/**
 * Behind the newest record of a partition, for evbus_bus_seek. Kafka's number for it.
 */
#define EVBUS_OFFSET_END -1

/**
 * A connected event bus.
 */
typedef struct evbus_bus evbus_bus;

/**
 * What became of everything when a bus was closed.
 */
typedef struct evbus_close_report evbus_close_report;

/**
 * A configuration: options by their names in the README, and the log callback.
 */
typedef struct evbus_config evbus_config;

/**
 * Which dead letters are meant, and how to replay them.
 */
typedef struct evbus_dead_letter_options evbus_dead_letter_options;

/**
 * Dead letters of one event type, as they were when they were looked at.
 */
typedef struct evbus_dead_letters evbus_dead_letters;

/**
 * A received event on its way through one subscription.
 */
typedef struct evbus_delivery evbus_delivery;

/**
 * Why a call failed: what failed, on what, why, and what to do about it.
 *
 * Functions give it through their last parameter, where NULL means that the code is enough.
 */
typedef struct evbus_error evbus_error;

/**
 * What is published: a domain event, or a record as it is. It can be published several times and changed between.
 */
typedef struct evbus_event evbus_event;

/**
 * A log record, lent to the log callback.
 */
typedef struct evbus_log_record evbus_log_record;

/**
 * What became of each event of evbus_bus_publish_batch, in their order.
 */
typedef struct evbus_publish_results evbus_publish_results;

/**
 * What a replay did, or, as a dry run, would do.
 */
typedef struct evbus_replay_report evbus_replay_report;

/**
 * A subscription of one event type.
 */
typedef struct evbus_subscription evbus_subscription;

/**
 * Options of one subscription: what it does not say is as the bus was configured.
 */
typedef struct evbus_subscription_options evbus_subscription_options;

/**
 * A Kafka cluster inside this process, for demos and tests without a Kafka. It has limits: a partition keeps about
 * 5 MB, topics that clients create have 4 partitions, and there is no TLS, SASL or ACL.
 */
typedef struct evbus_test_broker evbus_test_broker;

/**
 * Gets log records.
 *
 * @param record    The record, valid during the call.
 * @param user_data What was given to evbus_config_set_log.
 *
 * Thread: any, several at once; it must not block, must not call functions of this library that block, and must not
 * leave by longjmp or an exception. It is not called any more when evbus_bus_close has returned EVBUS_OK.
 */
typedef void (*evbus_log_fn)(const evbus_log_record *record, void *user_data);

/**
 * Gives user data back: called once, when nothing will use it any more.
 *
 * @param user_data What was given together with this function.
 *
 * Thread: any. It must not block, and must not call functions of this library that block.
 */
typedef void (*evbus_free_fn)(void *user_data);

/**
 * Gets the end of one publish. It is called exactly once for each publish that was accepted.
 *
 * @param error     NULL when all in-sync replicas have stored the record; else why not. Valid during the call.
 * @param partition Where the record was stored; -1 where it was not.
 * @param offset    Its offset there, or -1 where it is unknown.
 * @param user_data What was given to evbus_bus_publish_async.
 *
 * Thread: the delivery thread of the bus, maybe before evbus_bus_publish_async returned, or the one that closes the
 * bus. It must not block, must not call functions of this library that block, and must not leave by longjmp or an
 * exception.
 */
typedef void (*evbus_publish_fn)(const evbus_error *error, int32_t partition, int64_t offset, void *user_data);

/**
 * A view of a text in UTF-8. It has no NUL at its end; print it with "%.*s". data is NULL where there is no text.
 *
 * It is valid as long as the object that it was taken from.
 */
typedef struct {
  /**
   * The first byte.
   */
  const char *data;
  /**
   * The number of bytes.
   */
  size_t len;
} evbus_str;

/**
 * A view of bytes. data is NULL for Kafka's null, which is not the same as no bytes.
 *
 * It is valid as long as the object that it was taken from.
 */
typedef struct {
  /**
   * The first byte.
   */
  const uint8_t *data;
  /**
   * The number of bytes.
   */
  size_t len;
} evbus_bytes;

/**
 * Handles one event.
 *
 * @param delivery  The event, valid during the call and longer if it is retained.
 * @param user_data What was given to evbus_bus_subscribe.
 * @return EVBUS_DONE, EVBUS_RETRY, EVBUS_FATAL, EVBUS_DEAD_LETTER, EVBUS_SKIP or EVBUS_PENDING; any other number counts
 * as EVBUS_RETRY and is logged.
 *
 * Thread: one of the callback threads of the bus; calls for one partition come one after the other, those of
 * different partitions side by side. It may block and may publish, but not close the bus, and must not leave by
 * longjmp
 * or an exception. It is not called any more when evbus_bus_close or evbus_subscription_unsubscribe has returned
 * EVBUS_OK.
 */
typedef int32_t (*evbus_delivery_fn)(evbus_delivery *delivery, void *user_data);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that runs, for example "2.0.0". Static, never NULL, not to be freed.
 *
 * Thread: any, callbacks included; never blocks.
 */
const char *evbus_version_string(void);

/**
 * The version of the binary interface of the library that runs. A program works with it when it equals the
 * EVBUS_ABI_VERSION that the program was compiled with.
 *
 * Thread: any, callbacks included; never blocks.
 */
int32_t evbus_abi_version(void);

/**
 * Compares the header that a program was compiled with to the library that runs. Call it once at start:
 * evbus_abi_check(EVBUS_ABI_VERSION, EVBUS_VERSION_NUMBER, &error).
 *
 * @param abi_version    EVBUS_ABI_VERSION of the header.
 * @param version_number EVBUS_VERSION_NUMBER of the header.
 * @param error          Where the error goes, or NULL.
 * @return EVBUS_OK when the interface is the same and the library is not older than the header.
 *
 * Ownership: the error is the caller's.
 * Thread: any, callbacks included; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE when the header and the library do not belong together.
 */
int32_t evbus_abi_check(int32_t abi_version, int32_t version_number, evbus_error **error);

/**
 * The code of an error.
 *
 * @param error The error, or NULL.
 * @return One of EVBUS_ERR_*; EVBUS_OK for NULL.
 *
 * Ownership: borrows.
 * Thread: any, callbacks included; never blocks.
 */
int32_t evbus_error_code(const evbus_error *error);

/**
 * What failed and why, for a person, without the hint.
 *
 * @param error The error, or NULL.
 * @return The text; never NULL; empty for NULL.
 *
 * Ownership: belongs to the error.
 * Thread: any, callbacks included; never blocks.
 */
const char *evbus_error_message(const evbus_error *error);

/**
 * What to do about it, for a person.
 *
 * @param error The error, or NULL.
 * @return The text; never NULL; empty where there is no advice.
 *
 * Ownership: belongs to the error.
 * Thread: any, callbacks included; never blocks.
 */
const char *evbus_error_hint(const evbus_error *error);

/**
 * Everything on one line: name of the code, message, context, hint. What to print when in doubt.
 *
 * @param error The error, or NULL.
 * @return The text; never NULL; empty for NULL.
 *
 * Ownership: belongs to the error.
 * Thread: any, callbacks included; never blocks.
 */
const char *evbus_error_report(const evbus_error *error);

/**
 * On what it failed.
 *
 * @param error The error, or NULL.
 * @param key   "topic", "partition", "option", ...
 * @return The value as text, or NULL where the error has no such context.
 *
 * Ownership: belongs to the error.
 * Thread: any, callbacks included; never blocks.
 */
const char *evbus_error_context(const evbus_error *error, const char *key);

/**
 * Whether the same call can succeed later without a change of its input.
 *
 * @param error The error, or NULL.
 * @return false for NULL.
 *
 * Ownership: borrows.
 * Thread: any, callbacks included; never blocks.
 */
bool evbus_error_retryable(const evbus_error *error);

/**
 * Whether the bus that raised the error cannot be used any more.
 *
 * @param error The error, or NULL.
 * @return false for NULL.
 *
 * Ownership: borrows.
 * Thread: any, callbacks included; never blocks.
 */
bool evbus_error_fatal(const evbus_error *error);

/**
 * Kafka's own error number, where a broker or the client library gave one.
 *
 * @param error The error, or NULL.
 * @return The number; 0, which is no error of Kafka's, where there is none.
 *
 * Ownership: borrows.
 * Thread: any, callbacks included; never blocks.
 */
int32_t evbus_error_kafka_code(const evbus_error *error);

/**
 * What is known about the record of a failed publish.
 *
 * @param error The error, or NULL.
 * @return EVBUS_OUTCOME_NOT_SENT, EVBUS_OUTCOME_UNKNOWN, or EVBUS_OUTCOME_NONE where no publish failed.
 *
 * Ownership: borrows.
 * Thread: any, callbacks included; never blocks.
 */
int32_t evbus_error_outcome(const evbus_error *error);

/**
 * Frees an error.
 *
 * @param error The error, or NULL, which does nothing.
 *
 * Ownership: takes the error back, with all texts that were taken from it.
 * Thread: any; never blocks.
 */
void evbus_error_free(evbus_error *error);

/**
 * The stable name of a code, as logs and the other languages spell it: "EVBUS_TIMEOUT" for EVBUS_ERR_TIMEOUT,
 * "EVBUS_OK" for EVBUS_OK, "EVBUS_UNKNOWN" for a number that is no code. Static, never NULL, not to be freed.
 *
 * Thread: any, callbacks included; never blocks.
 */
const char *evbus_code_name(int32_t code);

/**
 * Whether the same call can succeed later without a change of its input; false for a number that is no code.
 *
 * Thread: any, callbacks included; never blocks.
 */
bool evbus_code_retryable(int32_t code);

/**
 * Whether the bus that returned the code cannot be used any more; false for a number that is no code.
 *
 * Thread: any, callbacks included; never blocks.
 */
bool evbus_code_fatal(int32_t code);

/**
 * Frees a text that a function of this library gave as char *.
 *
 * @param text The text, or NULL, which does nothing.
 *
 * Ownership: takes the text back; do not use it afterwards.
 * Thread: any; never blocks.
 */
void evbus_string_free(char *text);

/**
 * Makes a configuration with the defaults.
 *
 * @return The configuration; NULL only after a defect of the library.
 *
 * Ownership: the caller's; free it with evbus_config_free.
 * Thread: any; never blocks.
 */
evbus_config *evbus_config_new(void);

/**
 * Sets an option from text. Numbers are decimal, times in milliseconds, booleans true or false, lists separated by
 * commas; "kafka.NAME" passes the property NAME to librdkafka.
 *
 * @param config The configuration.
 * @param key    The name of the option as the README lists it, for example "clientId" or "sasl.password".
 * @param value  Its value.
 * @param error  Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the texts are copied; the error is the caller's.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_CONFIG for an unknown key, naming the nearest one, and for a value that the option does not take.
 */
int32_t evbus_config_set(evbus_config *config,
                         const char *key,
                         const char *value,
                         evbus_error **error);

/**
 * Fills brokers, client id and group id, where they were not set, from KAFKA_BROKERS, KAFKA_CLIENT_ID and
 * KAFKA_GROUP_ID. A variable that is empty counts as not set.
 *
 * @param config The configuration.
 * @param error  Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the error is the caller's.
 * Thread: any, while no other thread changes the environment; never blocks.
 * Errors: EVBUS_ERR_CONFIG when a variable is not UTF-8. What is still missing is found by evbus_bus_connect.
 */
int32_t evbus_config_from_env(evbus_config *config, evbus_error **error);

/**
 * Says who gets the log records of buses that are connected with this configuration.
 *
 * @param config         The configuration.
 * @param lowest         The least level that is told: EVBUS_LOG_DEBUG, EVBUS_LOG_INFO, EVBUS_LOG_WARN or
 *                       EVBUS_LOG_ERROR.
 * @param callback       Called for each record; NULL for nobody.
 * @param user_data      Given to the callback.
 * @param user_data_free Called once with user_data when nothing will use it any more, or NULL.
 * @param error          Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: user_data stays the caller's until user_data_free is called, or until the buses are closed with
 * EVBUS_OK and the configuration is freed. After a code other than EVBUS_OK user_data_free is not called.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ARGUMENT for a number that is no level.
 */
int32_t evbus_config_set_log(evbus_config *config,
                             int32_t lowest,
                             evbus_log_fn callback,
                             void *user_data,
                             evbus_free_fn user_data_free,
                             evbus_error **error);

/**
 * Sets how many threads at most call handlers side by side; 16 by default. They start when they are needed.
 *
 * @param config The configuration.
 * @param count  From 1 to 1024.
 * @param error  Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the error is the caller's.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_CONFIG for a number outside of the bounds.
 */
int32_t evbus_config_set_callback_threads(evbus_config *config, int32_t count, evbus_error **error);

/**
 * Frees a configuration. Buses that were connected with it go on.
 *
 * @param config The configuration, or NULL, which does nothing.
 *
 * Ownership: takes the configuration back.
 * Thread: any; never blocks.
 */
void evbus_config_free(evbus_config *config);

/**
 * How much a record matters.
 *
 * @param record The record.
 * @return One of EVBUS_LOG_*; -1 for NULL.
 *
 * Ownership: borrows.
 * Thread: that of the callback; never blocks.
 */
int32_t evbus_log_record_level(const evbus_log_record *record);

/**
 * The stable name of what happened, to filter by: "connection_lost", "partitions_assigned", ...
 *
 * @param record The record.
 * @return The name; never NULL.
 *
 * Ownership: belongs to the record.
 * Thread: that of the callback; never blocks.
 */
const char *evbus_log_record_event(const evbus_log_record *record);

/**
 * What happened, for a person.
 *
 * @param record The record.
 * @return The text; never NULL.
 *
 * Ownership: belongs to the record.
 * Thread: that of the callback; never blocks.
 */
const char *evbus_log_record_message(const evbus_log_record *record);

/**
 * On what it happened, as a JSON object: topic, partition, offset, ...
 *
 * @param record The record.
 * @return The text; never NULL; "{}" where there is nothing.
 *
 * Ownership: belongs to the record.
 * Thread: that of the callback; never blocks.
 */
const char *evbus_log_record_fields(const evbus_log_record *record);

/**
 * The error behind the record.
 *
 * @param record The record.
 * @return The error, or NULL where there is none.
 *
 * Ownership: belongs to the record; do not free it.
 * Thread: that of the callback; never blocks.
 */
const evbus_error *evbus_log_record_error(const evbus_log_record *record);

/**
 * Connects to the brokers of a configuration.
 *
 * @param config The configuration, which is copied: it can be changed and freed afterwards.
 * @param bus    Where the bus goes.
 * @param error  Where the error goes, or NULL.
 * @return EVBUS_OK when a broker answered, or a code; then nothing is left behind.
 *
 * Ownership: the bus is the caller's, who closes it with evbus_bus_close and frees it with evbus_bus_free.
 * Thread: any, but not completion and log callbacks; blocks up to connectTimeoutMs. A process must not fork after its
 * first connect, unless the child only calls exec.
 * Errors: EVBUS_ERR_CONFIG for settings that contradict each other or are missing; EVBUS_ERR_UNAVAILABLE when no
 * broker answered in time; EVBUS_ERR_AUTH when the brokers refuse the credentials.
 */
int32_t evbus_bus_connect(const evbus_config *config,
                          evbus_bus **bus,
                          evbus_error **error);

/**
 * Whether a broker can be reached and publishes make progress, at most 3 s late. Publishing does not depend on it:
 * during an outage publishes wait until their deadline.
 *
 * @param bus The bus.
 * @return false for NULL, and from the beginning of closing on.
 *
 * Ownership: borrows.
 * Thread: any, callbacks included; never blocks.
 */
bool evbus_bus_is_connected(const evbus_bus *bus);

/**
 * Whether the bus does its work, for a readiness probe: publishes and handlers can make progress now.
 *
 * @param bus   The bus.
 * @param error Where the reason goes, or NULL.
 * @return EVBUS_OK when it does, or a code.
 *
 * Ownership: the error is the caller's.
 * Thread: any, callbacks included; never blocks.
 * Errors: EVBUS_ERR_UNAVAILABLE, whose message names each reason, while no broker can be reached, publishes make no
 * progress, a partition stands still or the consumer has ended; EVBUS_ERR_CLOSED from the beginning of closing on.
 */
int32_t evbus_bus_health(const evbus_bus *bus,
                         evbus_error **error);

/**
 * Whether nothing stands still that a restart of the process may bring back, for a liveness probe. An outage of the
 * brokers does not count, as it heals by itself.
 *
 * @param bus The bus.
 * @return false for NULL.
 *
 * Ownership: borrows.
 * Thread: any, callbacks included; never blocks.
 */
bool evbus_bus_is_live(const evbus_bus *bus);

/**
 * The health of the bus as an object in JSON, for the answer to a probe: live, ready, connected; reasons, each with code
 * and message; haltedPartitions, stalledPartitions, deadLettersPending; lastError, with code and message, or null.
 *
 * @param bus   The bus.
 * @param text  Where the text goes.
 * @param error Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the text is the caller's, who frees it with evbus_string_free.
 * Thread: any, callbacks included; never blocks.
 * Errors: EVBUS_ERR_ARGUMENT for NULL.
 */
int32_t evbus_bus_health_json(const evbus_bus *bus,
                              char **text,
                              evbus_error **error);

/**
 * The state of the bus in numbers, in the text format of Prometheus.
 *
 * @param bus   The bus.
 * @param text  Where the text goes.
 * @param error Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the text is the caller's, who frees it with evbus_string_free.
 * Thread: any, callbacks included; never blocks.
 * Errors: EVBUS_ERR_ARGUMENT for NULL.
 */
int32_t evbus_bus_metrics(const evbus_bus *bus, char **text, evbus_error **error);

/**
 * Closes a bus, in order: no new work, running handlers finish, offsets are committed, the group is left, what was
 * published is flushed. When it has returned EVBUS_OK no callback runs and none starts; every accepted publish has had
 * its completion. A second call waits for callbacks that still run and gives the same numbers.
 *
 * @param bus        The bus.
 * @param timeout_ms How long the call may take, in milliseconds; negative for shutdownTimeoutMs.
 * @param report     Where the report goes, or NULL. It is written for EVBUS_OK and for EVBUS_ERR_TIMEOUT.
 * @param error      Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the bus stays the caller's, who still frees it; the report is the caller's, who frees it with
 * evbus_close_report_free.
 * Thread: any, but no callback of this library; blocks up to timeout_ms.
 * Errors: EVBUS_ERR_ILLEGAL_STATE inside a callback; EVBUS_ERR_TIMEOUT when callbacks still run at the end of the
 * time.
 * They may go on for as long as they like, no other starts, and their user data must stay valid until its
 * user_data_free is called or a further evbus_bus_close returns EVBUS_OK.
 */
int32_t evbus_bus_close(const evbus_bus *bus,
                        int64_t timeout_ms,
                        evbus_close_report **report,
                        evbus_error **error);

/**
 * Frees a bus. One that was not closed ends at once: what is in flight or unfinished is abandoned, running callbacks
 * are
 * not waited for, completions come as failed.
 *
 * @param bus The bus, or NULL, which does nothing.
 *
 * Ownership: takes the bus back. Subscriptions and deliveries of it are still the caller's to free.
 * Thread: any; never blocks.
 */
void evbus_bus_free(evbus_bus *bus);

/**
 * Events whose handlers finished while the bus closed.
 *
 * @param report The report.
 * @return The number; 0 for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
uint64_t evbus_close_report_handled(const evbus_close_report *report);

/**
 * Received events that were not finished; they stay uncommitted and are delivered again.
 *
 * @param report The report.
 * @return The number; 0 for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
uint64_t evbus_close_report_abandoned(const evbus_close_report *report);

/**
 * Records that were acknowledged while the bus closed.
 *
 * @param report The report.
 * @return The number; 0 for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
uint64_t evbus_close_report_published(const evbus_close_report *report);

/**
 * Publishes that were given up at the deadline; each has had its completion.
 *
 * @param report The report.
 * @return The number; 0 for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
uint64_t evbus_close_report_lost(const evbus_close_report *report);

/**
 * Callbacks that still ran when the time was over.
 *
 * @param report The report.
 * @return The number; 0 for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
uint64_t evbus_close_report_callbacks_running(const evbus_close_report *report);

/**
 * Whether every step ended before the deadline.
 *
 * @param report The report.
 * @return false for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
bool evbus_close_report_clean(const evbus_close_report *report);

/**
 * Frees a report.
 *
 * @param report The report, or NULL, which does nothing.
 *
 * Ownership: takes the report back.
 * Thread: any; never blocks.
 */
void evbus_close_report_free(evbus_close_report *report);

/**
 * Makes a domain event that occurred now, with a random event id and version 1. Its type is the topic, its
 * aggregate id the key: events of one aggregate and one type keep their order.
 *
 * @param event_type   The type: 1 to 249 of a-z A-Z 0-9 . _ -
 * @param aggregate_id The id of the aggregate that the event is about; not empty.
 * @param payload      The payload as JSON text.
 * @param event        Where the event goes.
 * @param error        Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the texts are copied; the event is the caller's, who frees it with evbus_event_free.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_CODEC when the payload is not JSON. Type and aggregate id are checked when it is published.
 */
int32_t evbus_event_new(const char *event_type,
                        const char *aggregate_id,
                        const char *payload,
                        evbus_event **event,
                        evbus_error **error);

/**
 * Makes a record without key, value and headers, for topics that hold something else than domain events.
 *
 * @param topic The topic: 1 to 249 of a-z A-Z 0-9 . _ -
 * @param event Where the record goes.
 * @param error Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the text is copied; the record is the caller's, who frees it with evbus_event_free.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ARGUMENT for NULL. The topic's name is checked when the record is published.
 */
int32_t evbus_event_new_record(const char *topic, evbus_event **event, evbus_error **error);

/**
 * Replaces the random id of a domain event.
 *
 * @param event    The event.
 * @param event_id The id, unique over all events; not empty.
 * @param error    Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the text is copied.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE for a record.
 */
int32_t evbus_event_set_id(evbus_event *event, const char *event_id, evbus_error **error);

/**
 * Replaces the time at which a domain event occurred.
 *
 * @param event        The event.
 * @param milliseconds Since the Unix epoch.
 * @param error        Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the error is the caller's.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE for a record.
 */
int32_t evbus_event_set_occurred_on(evbus_event *event, int64_t milliseconds, evbus_error **error);

/**
 * Replaces the version of a domain event's schema.
 *
 * @param event   The event.
 * @param version The version.
 * @param error   Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the error is the caller's.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE for a record.
 */
int32_t evbus_event_set_version(evbus_event *event, int64_t version, evbus_error **error);

/**
 * The id of a domain event, to log it or to publish the same event again.
 *
 * @param event    The event.
 * @param event_id Where the text goes.
 * @param error    Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the text is the caller's, who frees it with evbus_string_free.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE for a record.
 */
int32_t evbus_event_id(const evbus_event *event, char **event_id, evbus_error **error);

/**
 * Sets the key of a record, which decides its partition.
 *
 * @param event The record.
 * @param key   The bytes; NULL with length 0 for Kafka's null.
 * @param len   How many.
 * @param error Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the bytes are copied.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE for a domain event, whose key is its aggregate id.
 */
int32_t evbus_event_set_key(evbus_event *event, const uint8_t *key, size_t len, evbus_error **error);

/**
 * Sets the value of a record.
 *
 * @param event The record.
 * @param value The bytes; NULL with length 0 for Kafka's null, a tombstone.
 * @param len   How many.
 * @param error Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the bytes are copied.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE for a domain event, whose value is made of its fields.
 */
int32_t evbus_event_set_value(evbus_event *event, const uint8_t *value, size_t len, evbus_error **error);

/**
 * Adds a header to a record. Headers keep their order, and names may come several times.
 *
 * @param event The record.
 * @param name  The name.
 * @param value The bytes; NULL with length 0 for Kafka's null.
 * @param len   How many.
 * @param error Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: name and bytes are copied.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE for a domain event; EVBUS_ERR_ARGUMENT for a name of more than 65535 bytes.
 */
int32_t evbus_event_add_header(evbus_event *event,
                               const char *name,
                               const uint8_t *value,
                               size_t len,
                               evbus_error **error);

/**
 * Takes all headers off a record.
 *
 * @param event The record.
 * @param error Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the error is the caller's.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE for a domain event.
 */
int32_t evbus_event_clear_headers(evbus_event *event, evbus_error **error);

/**
 * Sends a record to a partition of the caller's choice.
 *
 * @param event     The record.
 * @param partition From 0; -1 for the choice by key, which is the default.
 * @param error     Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the error is the caller's.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ARGUMENT below -1; EVBUS_ERR_ILLEGAL_STATE for a domain event.
 */
int32_t evbus_event_set_partition(evbus_event *event, int32_t partition, evbus_error **error);

/**
 * Sets the timestamp of a record.
 *
 * @param event        The record.
 * @param milliseconds Since the Unix epoch; -1 for the time of publishing, which is the default.
 * @param error        Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the error is the caller's.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ARGUMENT below -1; EVBUS_ERR_ILLEGAL_STATE for a domain event.
 */
int32_t evbus_event_set_timestamp(evbus_event *event, int64_t milliseconds, evbus_error **error);

/**
 * Frees an event. Publishes of it go on.
 *
 * @param event The event, or NULL, which does nothing.
 *
 * Ownership: takes the event back.
 * Thread: any; never blocks.
 */
void evbus_event_free(evbus_event *event);

/**
 * Publishes an event and waits until all in-sync replicas have stored it.
 *
 * @param bus        The bus.
 * @param event      The event.
 * @param timeout_ms How long the call may take, in milliseconds; negative for as long as publishTimeoutMs says.
 * @param partition  Where the number of its partition goes, or NULL.
 * @param offset     Where its offset goes, or NULL; -1 where the broker did not tell.
 * @param error      Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: borrows the event; the error is the caller's.
 * Thread: any, handlers included, but not completion and log callbacks; blocks up to timeout_ms.
 * Errors: any code; evbus_error_outcome says whether the record may have been stored all the same. At the end of
 * timeout_ms EVBUS_ERR_TIMEOUT with the outcome EVBUS_OUTCOME_UNKNOWN.
 */
int32_t evbus_bus_publish(const evbus_bus *bus,
                          const evbus_event *event,
                          int64_t timeout_ms,
                          int32_t *partition,
                          int64_t *offset,
                          evbus_error **error);

/**
 * Publishes an event and returns at once; the callback gets its end.
 *
 * @param bus        The bus.
 * @param event      The event.
 * @param timeout_ms How long the call may wait for a place in flight, in milliseconds; 0 for not at all, negative
 *                   for as long as publishTimeoutMs says. Inside completion and log callbacks it never waits.
 * @param callback   Called once with the end, or NULL for nobody, where only the metrics and the log tell of failures.
 * @param user_data  Given to the callback.
 * @param error      Where the error goes, or NULL.
 * @return EVBUS_OK when the publish was accepted; with any other code the callback is not called.
 *
 * Ownership: the event is copied; user_data stays the caller's and must be valid until the callback was called.
 * Thread: any, callbacks included; blocks up to timeout_ms.
 * Errors: EVBUS_ERR_QUEUE_FULL when no place came free in time; EVBUS_ERR_CLOSED; EVBUS_ERR_ARGUMENT,
 * EVBUS_ERR_TOO_LARGE and others for what cannot be sent. The record was certainly not sent.
 */
int32_t evbus_bus_publish_async(const evbus_bus *bus,
                                const evbus_event *event,
                                int64_t timeout_ms,
                                evbus_publish_fn callback,
                                void *user_data,
                                evbus_error **error);

/**
 * Publishes events in their order and waits for the end of all.
 *
 * @param bus        The bus.
 * @param events     The addresses of the events.
 * @param count      How many.
 * @param timeout_ms How long the call may take, in milliseconds; negative for as long as publishTimeoutMs says.
 * @param results    Where the results go, one per event in the same order, or NULL. They are also written when events
 *                   have failed, but not for EVBUS_ERR_ARGUMENT and EVBUS_ERR_ILLEGAL_STATE of the call itself.
 * @param error      Where the error goes, or NULL: that of the first event that failed.
 * @return EVBUS_OK when all are stored; else the code of the first event that failed.
 *
 * Ownership: borrows the events; the results are the caller's, who frees them with evbus_publish_results_free.
 * Thread: any, handlers included, but not completion and log callbacks; blocks up to timeout_ms.
 * Errors: as evbus_bus_publish.
 */
int32_t evbus_bus_publish_batch(const evbus_bus *bus,
                                const evbus_event *const *events,
                                size_t count,
                                int64_t timeout_ms,
                                evbus_publish_results **results,
                                evbus_error **error);

/**
 * How many results there are.
 *
 * @param results The results.
 * @return The number of events of the batch; 0 for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
size_t evbus_publish_results_count(const evbus_publish_results *results);

/**
 * The code of one result.
 *
 * @param results The results.
 * @param index   The number of the event in the batch, from 0.
 * @return EVBUS_OK when it is stored; EVBUS_ERR_ARGUMENT for a number that is none.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
int32_t evbus_publish_results_code(const evbus_publish_results *results, size_t index);

/**
 * Why one event failed.
 *
 * @param results The results.
 * @param index   The number of the event in the batch, from 0.
 * @return The error; NULL when it is stored.
 *
 * Ownership: belongs to the results; do not free it.
 * Thread: any; never blocks.
 */
const evbus_error *evbus_publish_results_error(const evbus_publish_results *results, size_t index);

/**
 * Where one event was stored.
 *
 * @param results The results.
 * @param index   The number of the event in the batch, from 0.
 * @return The partition; -1 where it was not stored.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
int32_t evbus_publish_results_partition(const evbus_publish_results *results, size_t index);

/**
 * At which offset one event was stored.
 *
 * @param results The results.
 * @param index   The number of the event in the batch, from 0.
 * @return The offset; -1 where it was not stored or the broker did not tell.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
int64_t evbus_publish_results_offset(const evbus_publish_results *results, size_t index);

/**
 * Frees results.
 *
 * @param results The results, or NULL, which does nothing.
 *
 * Ownership: takes the results back, with all errors that were taken from them.
 * Thread: any; never blocks.
 */
void evbus_publish_results_free(evbus_publish_results *results);

/**
 * Says how the handling ended, from any thread, also before the handler returned. The first call wins; what the
 * handler returns afterwards changes nothing.
 *
 * @param delivery The delivery.
 * @param outcome  EVBUS_DONE, EVBUS_RETRY, EVBUS_FATAL, EVBUS_DEAD_LETTER or EVBUS_SKIP.
 * @param reason   Why, for the log and the dead letter, or NULL.
 * @param stale    Where it goes whether the partition is being or has been handed over, or the bus closes, so that
 *                 the outcome may come too late and the event be delivered again; or NULL.
 * @param error    Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the delivery stays the caller's, who still releases it.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE when it was finished before; EVBUS_ERR_ARGUMENT for a number that is no outcome.
 */
int32_t evbus_delivery_finish(evbus_delivery *delivery,
                              int32_t outcome,
                              const char *reason,
                              bool *stale,
                              evbus_error **error);

/**
 * Says that the event was handled: evbus_delivery_finish with EVBUS_DONE.
 *
 * @param delivery The delivery.
 * @param error    Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the delivery stays the caller's, who still releases it.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE when it was finished before.
 */
int32_t evbus_delivery_ack(evbus_delivery *delivery, evbus_error **error);

/**
 * Says that the handling failed: evbus_delivery_finish with EVBUS_RETRY.
 *
 * @param delivery The delivery.
 * @param reason   Why, for the log and the dead letter, or NULL.
 * @param error    Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the delivery stays the caller's, who still releases it.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE when it was finished before.
 */
int32_t evbus_delivery_retry(evbus_delivery *delivery, const char *reason, evbus_error **error);

/**
 * Has the event put into the dead-letter topic: evbus_delivery_finish with EVBUS_DEAD_LETTER.
 *
 * @param delivery The delivery.
 * @param reason   Why, for the log and the dead letter, or NULL.
 * @param error    Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the delivery stays the caller's, who still releases it.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE when it was finished before.
 */
int32_t evbus_delivery_dead_letter(evbus_delivery *delivery, const char *reason, evbus_error **error);

/**
 * Says that the handling failed, with a code of the program's own: evbus_delivery_finish for handlers that tell their
 * failures apart. A handler calls it and returns the same outcome.
 *
 * @param delivery The delivery.
 * @param outcome  EVBUS_RETRY when another attempt may succeed, EVBUS_FATAL when none can, EVBUS_DEAD_LETTER or
 *                 EVBUS_SKIP.
 * @param code     What kind of failure it is, for the dead letter, for example "OUT_OF_STOCK"; NULL for
 *                 EVBUS_HANDLER.
 * @param reason   Why, for the log and the dead letter, or NULL.
 * @param stale    As in evbus_delivery_finish, or NULL.
 * @param error    Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the texts are copied; the delivery stays the caller's, who still releases it.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE when it was finished before; EVBUS_ERR_ARGUMENT for a number that is no failure.
 */
int32_t evbus_delivery_fail(evbus_delivery *delivery,
                            int32_t outcome,
                            const char *code,
                            const char *reason,
                            bool *stale,
                            evbus_error **error);

/**
 * Holds a delivery beyond the callback that it was lent to, or once more.
 *
 * @param delivery The delivery.
 * @param error    Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: each call asks for one evbus_delivery_release.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ARGUMENT for NULL.
 */
int32_t evbus_delivery_retain(evbus_delivery *delivery, evbus_error **error);

/**
 * Lets a delivery go that came from evbus_subscription_poll or was retained. When the last holder lets one go that is
 * not finished, it counts as EVBUS_RETRY.
 *
 * @param delivery The delivery, or NULL, which does nothing.
 *
 * Ownership: takes one hold back, and with the last one everything that was taken from the delivery.
 * Thread: any; never blocks.
 */
void evbus_delivery_release(evbus_delivery *delivery);

/**
 * The topic.
 *
 * @param delivery The delivery.
 * @return The text; none for NULL.
 *
 * Ownership: belongs to the delivery.
 * Thread: any; never blocks.
 */
evbus_str evbus_delivery_topic(const evbus_delivery *delivery);

/**
 * The partition.
 *
 * @param delivery The delivery.
 * @return From 0; -1 for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
int32_t evbus_delivery_partition(const evbus_delivery *delivery);

/**
 * The offset in the partition.
 *
 * @param delivery The delivery.
 * @return From 0; -1 for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
int64_t evbus_delivery_offset(const evbus_delivery *delivery);

/**
 * The record's timestamp.
 *
 * @param delivery The delivery.
 * @return Milliseconds since the Unix epoch; -1 where the broker stores none.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
int64_t evbus_delivery_timestamp(const evbus_delivery *delivery);

/**
 * The number of this attempt.
 *
 * @param delivery The delivery.
 * @return From 1; 0 for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
int32_t evbus_delivery_attempt(const evbus_delivery *delivery);

/**
 * Whether no attempt follows this one, should it fail.
 *
 * @param delivery The delivery.
 * @return false for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
bool evbus_delivery_is_last_attempt(const evbus_delivery *delivery);

/**
 * The record's key.
 *
 * @param delivery The delivery.
 * @return The bytes; data is NULL for Kafka's null.
 *
 * Ownership: belongs to the delivery.
 * Thread: any; never blocks.
 */
evbus_bytes evbus_delivery_key(const evbus_delivery *delivery);

/**
 * The record's value.
 *
 * @param delivery The delivery.
 * @return The bytes; data is NULL for Kafka's null.
 *
 * Ownership: belongs to the delivery.
 * Thread: any; never blocks.
 */
evbus_bytes evbus_delivery_value(const evbus_delivery *delivery);

/**
 * How many headers the record has.
 *
 * @param delivery The delivery.
 * @return The number; 0 for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
size_t evbus_delivery_header_count(const evbus_delivery *delivery);

/**
 * One header, in the order of the record.
 *
 * @param delivery The delivery.
 * @param index    From 0.
 * @param name     Where the name goes.
 * @param value    Where the value goes; its data is NULL for Kafka's null.
 * @param error    Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: both belong to the delivery.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ARGUMENT when there is no header of that number.
 */
int32_t evbus_delivery_header_at(const evbus_delivery *delivery,
                                 size_t index,
                                 evbus_str *name,
                                 evbus_bytes *value,
                                 evbus_error **error);

/**
 * The value of the last header of a name.
 *
 * @param delivery The delivery.
 * @param name     The name.
 * @return The bytes; data is NULL where there is no such header, or where its value is Kafka's null.
 *
 * Ownership: belongs to the delivery.
 * Thread: any; never blocks.
 */
evbus_bytes evbus_delivery_header(const evbus_delivery *delivery, const char *name);

/**
 * The id of the domain event.
 *
 * @param delivery The delivery.
 * @return The text; none where the record is no domain event.
 *
 * Ownership: belongs to the delivery.
 * Thread: any; never blocks.
 */
evbus_str evbus_delivery_event_id(const evbus_delivery *delivery);

/**
 * The type of the domain event, as its envelope names it.
 *
 * @param delivery The delivery.
 * @return The text; none where the record is no domain event.
 *
 * Ownership: belongs to the delivery.
 * Thread: any; never blocks.
 */
evbus_str evbus_delivery_event_type(const evbus_delivery *delivery);

/**
 * The id of the aggregate that the domain event is about.
 *
 * @param delivery The delivery.
 * @return The text; none where the record is no domain event.
 *
 * Ownership: belongs to the delivery.
 * Thread: any; never blocks.
 */
evbus_str evbus_delivery_aggregate_id(const evbus_delivery *delivery);

/**
 * The version of the domain event's schema.
 *
 * @param delivery The delivery.
 * @return The version; 0 where the record is no domain event.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
int64_t evbus_delivery_version(const evbus_delivery *delivery);

/**
 * When the domain event occurred.
 *
 * @param delivery     The delivery.
 * @param milliseconds Where the time goes, since the Unix epoch.
 * @return false, with nothing written, where the event does not say so in a readable form.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
bool evbus_delivery_occurred_on(const evbus_delivery *delivery, int64_t *milliseconds);

/**
 * The payload of the domain event as JSON text.
 *
 * @param delivery The delivery.
 * @return The text; none where the record is no domain event; "null" for an event without a payload.
 *
 * Ownership: belongs to the delivery.
 * Thread: any; never blocks.
 */
evbus_str evbus_delivery_payload(const evbus_delivery *delivery);

/**
 * Makes options that say nothing yet.
 *
 * @return The options; NULL only after a defect of the library.
 *
 * Ownership: the caller's; free them with evbus_subscription_options_free.
 * Thread: any; never blocks.
 */
evbus_subscription_options *evbus_subscription_options_new(void);

/**
 * Sets an option from text, as evbus_config_set does for the whole bus: those that the README lists as options of
 * subscriptions ("ordering", "concurrency", "retry.attempts", "onExhausted", "onInvalid", "parkKey",
 * "deadLetterTopic", ...), and two more:
 *
 * - "from": where a group starts that has committed nothing yet: "earliest" (the default), "latest", or a time in
 *   milliseconds since the Unix epoch.
 * - "raw": "true" for records as they are, whether they hold an event or not; "false" by default. The functions for
 *   the envelope then give nothing where a record is no event.
 *
 * @param options The options.
 * @param key     The name of the option.
 * @param value   Its value.
 * @param error   Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the texts are copied; the error is the caller's.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_CONFIG for an unknown key, for an option of the bus as a whole, for a value that the option does
 * not take, and for handlerTimeoutMs, because a call into C cannot be ended.
 */
int32_t evbus_subscription_options_set(evbus_subscription_options *options,
                                       const char *key,
                                       const char *value,
                                       evbus_error **error);

/**
 * Frees options.
 *
 * @param options The options, or NULL, which does nothing.
 *
 * Ownership: takes the options back. Subscriptions that were made with them keep what they say.
 * Thread: any; never blocks.
 */
void evbus_subscription_options_free(evbus_subscription_options *options);

/**
 * Calls a handler for every event of a type, from now on, one at a time per partition and at least once.
 *
 * Several subscriptions of one type each get every event. An event whose handler fails is tried again in its place, as
 * the options retry.* say, and then goes where onExhausted says; only the handlers that failed are called again. With
 * ordering=key events of different keys run side by side, as many as concurrency and the callback threads allow.
 *
 * @param bus            The bus.
 * @param event_type     The type, which is also the topic.
 * @param callback       The handler.
 * @param user_data      Given to the handler.
 * @param user_data_free Called once with user_data when no call will use it any more, or NULL.
 * @param subscription   Where the subscription goes, or NULL: then it lasts as long as the bus.
 * @param error          Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the subscription is the caller's, who frees it with evbus_subscription_free. user_data must be valid
 * until
 * user_data_free was called, or until unsubscribing or closing has returned EVBUS_OK; after a code other than EVBUS_OK
 * it is the caller's again and user_data_free is not called.
 * Thread: any, handlers included, but not completion and log callbacks; blocks until the client was told, which takes
 * some 100 ms, and up to 5 s while topics are looked up.
 * Errors: EVBUS_ERR_CONFIG without groupId; EVBUS_ERR_ARGUMENT for a type that is no legal topic name;
 * EVBUS_ERR_CLOSED.
 */
int32_t evbus_bus_subscribe(const evbus_bus *bus,
                            const char *event_type,
                            evbus_delivery_fn callback,
                            void *user_data,
                            evbus_free_fn user_data_free,
                            evbus_subscription **subscription,
                            evbus_error **error);

/**
 * As evbus_bus_subscribe, with options of its own.
 *
 * @param bus            The bus.
 * @param event_type     The type, which is also the topic.
 * @param options        The options, which are copied, or NULL for those of the bus. All subscriptions of a type have
 *                       the same ones.
 * @param callback       The handler.
 * @param user_data      Given to the handler.
 * @param user_data_free Called once with user_data when no call will use it any more, or NULL.
 * @param subscription   Where the subscription goes, or NULL: then it lasts as long as the bus.
 * @param error          Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: as evbus_bus_subscribe; the options stay the caller's.
 * Thread: as evbus_bus_subscribe.
 * Errors: as evbus_bus_subscribe; EVBUS_ERR_ARGUMENT also when another subscription of the type has other options;
 * EVBUS_ERR_CONFIG also for options that contradict each other.
 */
int32_t evbus_bus_subscribe_with(const evbus_bus *bus,
                                 const char *event_type,
                                 const evbus_subscription_options *options,
                                 evbus_delivery_fn callback,
                                 void *user_data,
                                 evbus_free_fn user_data_free,
                                 evbus_subscription **subscription,
                                 evbus_error **error);

/**
 * Subscribes to a type without a handler: evbus_subscription_poll gives the events, one at a time per partition and at
 * least once. The next event of a partition comes when the one before is finished.
 *
 * @param bus          The bus.
 * @param event_type   The type, which is also the topic.
 * @param subscription Where the subscription goes.
 * @param error        Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the subscription is the caller's, who frees it with evbus_subscription_free.
 * Thread: any, handlers included, but not completion and log callbacks; blocks as evbus_bus_subscribe.
 * Errors: as evbus_bus_subscribe.
 */
int32_t evbus_bus_subscribe_pull(const evbus_bus *bus,
                                 const char *event_type,
                                 evbus_subscription **subscription,
                                 evbus_error **error);

/**
 * As evbus_bus_subscribe_pull, with options of its own.
 *
 * @param bus          The bus.
 * @param event_type   The type, which is also the topic.
 * @param options      The options, which are copied, or NULL for those of the bus. All subscriptions of a type have
 *                     the same ones.
 * @param subscription Where the subscription goes.
 * @param error        Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the subscription is the caller's, who frees it with evbus_subscription_free; the options stay the
 * caller's.
 * Thread: as evbus_bus_subscribe.
 * Errors: as evbus_bus_subscribe_with.
 */
int32_t evbus_bus_subscribe_pull_with(const evbus_bus *bus,
                                      const char *event_type,
                                      const evbus_subscription_options *options,
                                      evbus_subscription **subscription,
                                      evbus_error **error);

/**
 * Takes the next event of a subscription without a handler.
 *
 * @param subscription The subscription.
 * @param timeout_ms   How long to wait for one, in milliseconds; 0 for not at all, negative for as long as it takes.
 * @param delivery     Where the event goes; NULL when the time passed without one.
 * @param error        Where the error goes, or NULL.
 * @return EVBUS_OK, also when there is none; or a code.
 *
 * Ownership: the delivery is the caller's, who finishes it (evbus_delivery_ack, evbus_delivery_retry) and lets it go
 * with evbus_delivery_release.
 * Thread: any, several at once, but not completion and log callbacks; blocks up to timeout_ms.
 * Errors: EVBUS_ERR_CLOSED when nothing will come any more, because the subscription has ended or the bus closes.
 */
int32_t evbus_subscription_poll(const evbus_subscription *subscription,
                                int64_t timeout_ms,
                                evbus_delivery **delivery,
                                evbus_error **error);

/**
 * A descriptor for select, poll, epoll and event loops. It is readable while evbus_subscription_poll would not wait:
 * while an event waits, and for ever when the subscription has ended.
 *
 * @param subscription The subscription.
 * @param fd           Where the descriptor goes. Do not read, write or close it; only polling takes its signal away.
 * @param error        Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: belongs to the subscription, which closes it when it is freed.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ILLEGAL_STATE for a subscription with a handler, and on Windows, where there is none.
 */
int32_t evbus_subscription_fd(const evbus_subscription *subscription,
                              int32_t *fd,
                              evbus_error **error);

/**
 * Ends a subscription: when this has returned EVBUS_OK no call of its handler starts, and none runs but the one that
 * may be calling this. The topic is left when no other subscription wants it.
 *
 * @param subscription The subscription.
 * @param timeout_ms   How long to wait for running calls, in milliseconds; negative for as long as it takes.
 * @param error        Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the subscription stays the caller's, who still frees it. Deliveries that are not finished can still be.
 * Thread: any, handlers included, but not completion and log callbacks; blocks until running calls have ended.
 * Errors: EVBUS_ERR_ILLEGAL_STATE when it has ended before; EVBUS_ERR_TIMEOUT when calls still run, after which only
 * user_data_free tells when its user data is free; EVBUS_ERR_CLOSED when the bus was freed.
 */
int32_t evbus_subscription_unsubscribe(const evbus_subscription *subscription,
                                       int64_t timeout_ms,
                                       evbus_error **error);

/**
 * Frees a subscription. One that has not ended ends: no call of its handler starts any more, but running ones are not
 * waited for; use evbus_subscription_unsubscribe for that.
 *
 * @param subscription The subscription, or NULL, which does nothing.
 *
 * Ownership: takes the subscription back, and closes its descriptor.
 * Thread: any; never blocks.
 */
void evbus_subscription_free(evbus_subscription *subscription);

/**
 * Makes options that say nothing yet: all letters, all of each replay.
 *
 * @return The options; NULL only after a defect of the library.
 *
 * Ownership: the caller's; free them with evbus_dead_letter_options_free.
 * Thread: any; never blocks.
 */
evbus_dead_letter_options *evbus_dead_letter_options_new(void);

/**
 * Sets an option from text. What is set has to hold all together:
 *
 * - "reason": one of exhausted, fatal, invalid, parked, requested, or several, separated by commas.
 * - "since", "until": the last attempt failed then or later, before then; in milliseconds since the Unix epoch.
 * - "partition", "offset": where they lie in the dead-letter topic; an offset needs its partition.
 * - "limit": how many letters at most; 100 by default for a list, no bound for a replay.
 * - "deadLetterTopic": the topic that they lie in, where a subscription had one of its own.
 *
 * For replays only:
 *
 * - "ratePerSecond": how many letters a second at most, for example 0.5; no bound by default.
 * - "dryRun": "true" only tells what would be replayed; "false" by default.
 * - "maxReplays": an event that was replayed so often is skipped and reported; 3 by default.
 *
 * @param options The options.
 * @param key     The name of the option.
 * @param value   Its value.
 * @param error   Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the texts are copied; the error is the caller's.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ARGUMENT for an unknown key and for a value that the option does not take.
 */
int32_t evbus_dead_letter_options_set(evbus_dead_letter_options *options,
                                      const char *key,
                                      const char *value,
                                      evbus_error **error);

/**
 * Asks for the letters of one key, which is the aggregate id where the records are events.
 *
 * @param options The options.
 * @param key     The bytes; NULL for any key again.
 * @param len     Their number.
 * @param error   Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the bytes are copied; the error is the caller's.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ARGUMENT for NULL with a length.
 */
int32_t evbus_dead_letter_options_set_key(evbus_dead_letter_options *options,
                                          const uint8_t *key,
                                          size_t len,
                                          evbus_error **error);

/**
 * Frees options.
 *
 * @param options The options, or NULL, which does nothing.
 *
 * Ownership: takes the options back.
 * Thread: any; never blocks.
 */
void evbus_dead_letter_options_free(evbus_dead_letter_options *options);

/**
 * Looks at the dead letters of an event type, those whose last attempt failed first in front. Letters that were
 * replayed stay in their topic and in the list. With partition and offset it is the one letter that lies there, with
 * its value and headers.
 *
 * @param bus        The bus.
 * @param event_type The type, which is also the topic that the records come from.
 * @param options    Which letters, or NULL for the first 100.
 * @param letters    Where the list goes.
 * @param error      Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the list is the caller's, who frees it with evbus_dead_letters_free; the options stay the caller's.
 * Thread: any, handlers included, but not completion and log callbacks; blocks while the topic is read, until the bus
 * closes.
 * Errors: EVBUS_ERR_UNKNOWN_TOPIC while there is no dead-letter topic; EVBUS_ERR_ARGUMENT for options of replays, for
 * an offset without its partition, and when no letter lies there; EVBUS_ERR_TIMEOUT; EVBUS_ERR_UNAVAILABLE;
 * EVBUS_ERR_REJECTED without the right to read; EVBUS_ERR_CLOSED.
 */
int32_t evbus_bus_dead_letters(const evbus_bus *bus,
                               const char *event_type,
                               const evbus_dead_letter_options *options,
                               evbus_dead_letters **letters,
                               evbus_error **error);

/**
 * How many letters a list has.
 *
 * @param letters The list.
 * @return The number; 0 for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
size_t evbus_dead_letters_count(const evbus_dead_letters *letters);

/**
 * The partition of the dead-letter topic that a letter lies in.
 *
 * @param letters The list.
 * @param index   The number of the letter, from 0.
 * @return The partition; -1 for a number that is none.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
int32_t evbus_dead_letters_partition(const evbus_dead_letters *letters, size_t index);

/**
 * The offset at which a letter lies in its partition.
 *
 * @param letters The list.
 * @param index   The number of the letter, from 0.
 * @return The offset; -1 for a number that is none.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
int64_t evbus_dead_letters_offset(const evbus_dead_letters *letters, size_t index);

/**
 * What is known of a letter, by name: "sourceTopic", "sourcePartition", "sourceOffset", "timestamp", "eventId",
 * "group", "reason", "handler", "attempts", "errorCode", "errorMessage", "firstFailedAt", "lastFailedAt", "reduced",
 * "replays", "size", "partition", "offset". Numbers are decimal, times in milliseconds since the Unix epoch.
 *
 * @param letters The list.
 * @param index   The number of the letter, from 0.
 * @param name    Which field.
 * @return The value as text, or NULL where the letter does not have it.
 *
 * Ownership: belongs to the list.
 * Thread: any; never blocks.
 */
const char *evbus_dead_letters_field(const evbus_dead_letters *letters,
                                     size_t index,
                                     const char *name);

/**
 * The record's key.
 *
 * @param letters The list.
 * @param index   The number of the letter, from 0.
 * @return The bytes; data is NULL for Kafka's null.
 *
 * Ownership: belongs to the list.
 * Thread: any; never blocks.
 */
evbus_bytes evbus_dead_letters_key(const evbus_dead_letters *letters, size_t index);

/**
 * The record's value, of a letter that was asked for by partition and offset.
 *
 * @param letters The list.
 * @param index   The number of the letter, from 0.
 * @return The bytes; data is NULL for Kafka's null, and for letters of a longer list.
 *
 * Ownership: belongs to the list.
 * Thread: any; never blocks.
 */
evbus_bytes evbus_dead_letters_value(const evbus_dead_letters *letters, size_t index);

/**
 * One header that the record had before it became a dead letter, of a letter that was asked for by partition and
 * offset.
 *
 * @param letters The list.
 * @param index   The number of the letter, from 0.
 * @param header  The number of the header, from 0.
 * @param name    Where the name goes.
 * @param value   Where the value goes; its data is NULL for Kafka's null.
 * @return false, with nothing written, when there is no header of that number.
 *
 * Ownership: both belong to the list.
 * Thread: any; never blocks.
 */
bool evbus_dead_letters_header(const evbus_dead_letters *letters,
                               size_t index,
                               size_t header,
                               evbus_str *name,
                               evbus_bytes *value);

/**
 * Frees a list.
 *
 * @param letters The list, or NULL, which does nothing.
 *
 * Ownership: takes the list back, with everything that was taken from it.
 * Thread: any; never blocks.
 */
void evbus_dead_letters_free(evbus_dead_letters *letters);

/**
 * Publishes dead letters to the topic and partition that they came from, as they were, with the headers
 * dead-letter.replay-id and dead-letter.replay-count. It goes on where the last replay with the same filter ended, and
 * ends where the topic ended when it began: killed and started again it leaves nothing out and repeats at most the
 * last 100 letters, which their replay id tells. With partition and offset it always replays that letter.
 *
 * @param bus        The bus.
 * @param event_type The type, which is also the topic that the records come from.
 * @param options    Which letters and how, or NULL for all.
 * @param report     Where the report goes, or NULL.
 * @param error      Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the report is the caller's, who frees it with evbus_replay_report_free; the options stay the caller's.
 * Thread: any, handlers included, but not completion and log callbacks; blocks until the replay has ended, as long as
 * ratePerSecond makes it take. Closing the bus ends it.
 * Errors: as evbus_bus_dead_letters; EVBUS_ERR_UNKNOWN_TOPIC also when the event's topic is gone; and the code of a
 * publish that may succeed later. evbus_error_context(error, "replayed") says how many letters were replayed before;
 * call it again to go on.
 */
int32_t evbus_bus_replay_dead_letters(const evbus_bus *bus,
                                      const char *event_type,
                                      const evbus_dead_letter_options *options,
                                      evbus_replay_report **report,
                                      evbus_error **error);

/**
 * Letters that are stored in the event's topic again, or would be.
 *
 * @param report The report.
 * @return The number; 0 for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
uint64_t evbus_replay_report_replayed(const evbus_replay_report *report);

/**
 * Letters that match and were not replayed: too often before, without their record, or refused by the broker.
 *
 * @param report The report.
 * @return The number; 0 for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
uint64_t evbus_replay_report_skipped(const evbus_replay_report *report);

/**
 * Whether nothing that matches is left: the end was reached, not the limit.
 *
 * @param report The report.
 * @return false for NULL.
 *
 * Ownership: borrows.
 * Thread: any; never blocks.
 */
bool evbus_replay_report_complete(const evbus_replay_report *report);

/**
 * The whole report as a JSON object: read, replayed, skipped, skippedLetters (the first 1000, each with partition,
 * offset, replays and why), dryRun, complete.
 *
 * @param report The report.
 * @return The text; never NULL; "{}" for NULL.
 *
 * Ownership: belongs to the report.
 * Thread: any; never blocks.
 */
const char *evbus_replay_report_json(const evbus_replay_report *report);

/**
 * Frees a report.
 *
 * @param report The report, or NULL, which does nothing.
 *
 * Ownership: takes the report back, with the text that was taken from it.
 * Thread: any; never blocks.
 */
void evbus_replay_report_free(evbus_replay_report *report);

/**
 * Reads a partition from another offset on, to replay a part of the log or to pass one over. The partition has to be
 * assigned to this bus; the metrics name those that are. Events from before that are still with their handlers count no
 * more, and may overlap with what comes next. The offset that the group has stored follows when the first event from
 * the new place is finished.
 *
 * @param bus        The bus.
 * @param event_type The event type, which is the topic.
 * @param partition  The partition, from 0.
 * @param offset     The offset, EVBUS_OFFSET_BEGINNING or EVBUS_OFFSET_END.
 * @param error      Where the error goes, or NULL.
 * @return EVBUS_OK when reading goes on there, or a code.
 *
 * Ownership: the text is copied; the error is the caller's.
 * Thread: any, handlers included, but not completion and log callbacks; blocks until the client has moved.
 * Errors: EVBUS_ERR_ILLEGAL_STATE when the partition is not assigned to this bus; EVBUS_ERR_ARGUMENT for another
 * negative offset; EVBUS_ERR_TIMEOUT or EVBUS_ERR_UNAVAILABLE when the partition's leader does not tell its offsets;
 * EVBUS_ERR_CLOSED.
 */
int32_t evbus_bus_seek(const evbus_bus *bus,
                       const char *event_type,
                       int32_t partition,
                       int64_t offset,
                       evbus_error **error);

/**
 * Reads a partition from the first record of a time or later on; otherwise as evbus_bus_seek.
 *
 * @param bus          The bus.
 * @param event_type   The event type, which is the topic.
 * @param partition    The partition, from 0.
 * @param milliseconds Since the Unix epoch; behind the newest record where none is that young.
 * @param error        Where the error goes, or NULL.
 * @return EVBUS_OK when reading goes on there, or a code.
 *
 * Ownership: the text is copied; the error is the caller's.
 * Thread: any, handlers included, but not completion and log callbacks; blocks until the client has moved.
 * Errors: those of evbus_bus_seek.
 */
int32_t evbus_bus_seek_to_timestamp(const evbus_bus *bus,
                                    const char *event_type,
                                    int32_t partition,
                                    int64_t milliseconds,
                                    evbus_error **error);

/**
 * Starts a cluster on free ports of 127.0.0.1; it takes a few milliseconds.
 *
 * @param brokers How many brokers it has, numbered from 1.
 * @param broker  Where the cluster goes.
 * @param error   Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the cluster is the caller's, who stops it with evbus_test_broker_free after the buses that use it.
 * Thread: any; blocks for some milliseconds.
 * Errors: EVBUS_ERR_ARGUMENT for less than one; EVBUS_ERR_UNAVAILABLE when no port can be opened.
 */
int32_t evbus_test_broker_start(int32_t brokers,
                                evbus_test_broker **broker,
                                evbus_error **error);

/**
 * The addresses to connect to, for the option "brokers".
 *
 * @param broker The cluster.
 * @return The text; never NULL; empty for NULL.
 *
 * Ownership: belongs to the cluster.
 * Thread: any; never blocks.
 */
const char *evbus_test_broker_bootstrap(const evbus_test_broker *broker);

/**
 * Creates a topic.
 *
 * @param broker     The cluster.
 * @param topic      Its name.
 * @param partitions How many partitions it gets.
 * @param error      Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the text is copied.
 * Thread: any; blocks for some milliseconds.
 * Errors: EVBUS_ERR_ARGUMENT when there is one of that name, or the number of partitions is not positive.
 */
int32_t evbus_test_broker_create_topic(const evbus_test_broker *broker,
                                       const char *topic,
                                       int32_t partitions,
                                       evbus_error **error);

/**
 * Takes a broker down: its connections break and its port is closed; or brings it back on the port it had.
 *
 * @param broker The cluster.
 * @param number Which broker, from 1.
 * @param up     false to take it down.
 * @param error  Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the error is the caller's.
 * Thread: any; blocks for some milliseconds.
 * Errors: EVBUS_ERR_ARGUMENT for a broker that does not exist.
 */
int32_t evbus_test_broker_set_up(const evbus_test_broker *broker,
                                 int32_t number,
                                 bool up,
                                 evbus_error **error);

/**
 * Delays every answer of a broker.
 *
 * @param broker       The cluster.
 * @param number       Which broker, from 1.
 * @param milliseconds By how much; 0 for no longer.
 * @param error        Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the error is the caller's.
 * Thread: any; blocks for some milliseconds.
 * Errors: EVBUS_ERR_ARGUMENT for a broker that does not exist, and for a negative time.
 */
int32_t evbus_test_broker_set_round_trip(const evbus_test_broker *broker,
                                         int32_t number,
                                         int32_t milliseconds,
                                         evbus_error **error);

/**
 * Lets the next requests of a kind fail, one for each number.
 *
 * @param broker  The cluster.
 * @param api_key The kind by its number in Kafka's protocol: 0 Produce, 1 Fetch, 3 Metadata, 8 OffsetCommit, ...
 * @param codes   Error numbers of Kafka's protocol.
 * @param count   How many.
 * @param error   Where the error goes, or NULL.
 * @return EVBUS_OK, or a code.
 *
 * Ownership: the numbers are copied.
 * Thread: any; never blocks.
 * Errors: EVBUS_ERR_ARGUMENT for a kind that cannot be made to fail.
 */
int32_t evbus_test_broker_fail_requests(const evbus_test_broker *broker,
                                        int16_t api_key,
                                        const int32_t *codes,
                                        size_t count,
                                        evbus_error **error);

/**
 * Stops a cluster. Buses that use it lose their connection.
 *
 * @param broker The cluster, or NULL, which does nothing.
 *
 * Ownership: takes the cluster back.
 * Thread: any; blocks for some milliseconds.
 */
void evbus_test_broker_free(evbus_test_broker *broker);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* EVBUS_H */
