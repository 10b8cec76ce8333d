/*
 * evbus: domain events on Kafka, acknowledged and in order.
 *
 * Conventions of this header:
 *
 * - Every name begins with evbus_ or EVBUS_; functions read evbus_<type>_<verb>.
 * - A function that can fail returns int32_t: EVBUS_OK (0) or one of the EVBUS_ERR_* codes. Codes keep their
 *   numbers for ever; new ones may come, so treat one that you do not know as a failure.
 * - Parameters come in the order object, inputs, outputs. Outputs are written only on success.
 * - Objects are opaque. Whoever makes one frees it with the _free function of its type; _free(NULL) does nothing.
 * - Inputs are copied before a function returns, unless its comment says otherwise. Strings are UTF-8.
 * - Each function says on which threads it may be called and whether it blocks.
 * - No panic and no exception leaves the library: a defect of it is reported as EVBUS_ERR_INTERNAL, or as 0, false
 *   or an empty string by a function that returns no code.
 *
 * Compare EVBUS_ABI_VERSION with evbus_abi_version() once at start: equal means that this header and the library
 * that runs belong together.
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

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* EVBUS_H */
