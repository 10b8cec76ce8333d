/* What the tests share: checks that say where they failed, and awaiting with a deadline. */

#ifndef CHECK_H
#define CHECK_H

#define _POSIX_C_SOURCE 200809L

#include <evbus.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 20000

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                   \
            exit(1);                                                                                                  \
        }                                                                                                             \
    } while (0)

/* A call that has to succeed. `error` is a variable of the caller. */
#define OK(call)                                                                                                      \
    do {                                                                                                              \
        int32_t code_of_call = (call);                                                                                \
        if (code_of_call != EVBUS_OK) {                                                                               \
            fprintf(stderr, "%s:%d: %s gave %s: %s\n", __FILE__, __LINE__, #call, evbus_code_name(code_of_call),       \
                    evbus_error_report(error));                                                                       \
            exit(1);                                                                                                  \
        }                                                                                                             \
    } while (0)

/* A call that has to fail with a code and an error object of that code. */
#define FAILS(expected, call)                                                                                         \
    do {                                                                                                              \
        int32_t code_of_call = (call);                                                                                \
        if (code_of_call != (expected) || evbus_error_code(error) != (expected)) {                                    \
            fprintf(stderr, "%s:%d: %s gave %s instead of %s: %s\n", __FILE__, __LINE__, #call,                       \
                    evbus_code_name(code_of_call), evbus_code_name(expected), evbus_error_report(error));             \
            exit(1);                                                                                                  \
        }                                                                                                             \
        CHECK(evbus_error_message(error)[0] != '\0');                                                                 \
        evbus_error_free(error);                                                                                      \
        error = NULL;                                                                                                 \
    } while (0)

static inline int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A number that threads change and wait for. */
typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    long value;
} counter;

#define COUNTER_INIT {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}

static inline void counter_add(counter *counter, long by)
{
    pthread_mutex_lock(&counter->mutex);
    counter->value += by;
    pthread_cond_broadcast(&counter->changed);
    pthread_mutex_unlock(&counter->mutex);
}

static inline long counter_get(counter *counter)
{
    pthread_mutex_lock(&counter->mutex);
    long value = counter->value;
    pthread_mutex_unlock(&counter->mutex);
    return value;
}

/* Waits until the number is at least `least`; says whether it came before the deadline. */
static inline int counter_await(counter *counter, long least)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_MS / 1000;
    int ended = 0;
    pthread_mutex_lock(&counter->mutex);
    while (counter->value < least && ended == 0)
        ended = pthread_cond_timedwait(&counter->changed, &counter->mutex, &until);
    int reached = counter->value >= least;
    pthread_mutex_unlock(&counter->mutex);
    return reached;
}

/* What a program writes before it hands a pointer to the library is there for the callback that gets it. The search for
 * races does not see into the library and learns this here: to be called behind the write and in front of the read. */
static inline void hand_over(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
}

/* A bus on a broker in memory of that name; all buses of one name share it. */
static inline evbus_config *memory_config(const char *name, const char *group)
{
    evbus_error *error = NULL;
    char brokers[128];
    snprintf(brokers, sizeof brokers, "memory:%s", name);
    evbus_config *config = evbus_config_new();
    CHECK(config != NULL);
    OK(evbus_config_set(config, "brokers", brokers, &error));
    OK(evbus_config_set(config, "clientId", "tests", &error));
    if (group != NULL)
        OK(evbus_config_set(config, "groupId", group, &error));
    return config;
}

static inline evbus_bus *memory_bus(const char *name, const char *group)
{
    evbus_error *error = NULL;
    evbus_bus *bus = NULL;
    evbus_config *config = memory_config(name, group);
    OK(evbus_bus_connect(config, &bus, &error));
    evbus_config_free(config);
    CHECK(bus != NULL);
    return bus;
}

static inline void close_bus(evbus_bus *bus)
{
    evbus_error *error = NULL;
    OK(evbus_bus_close(bus, 10000, NULL, &error));
    evbus_bus_free(bus);
}

/* Publishes a number of an aggregate and waits until it is stored. */
static inline void publish_number(evbus_bus *bus, const char *type, const char *aggregate, int number)
{
    evbus_error *error = NULL;
    evbus_event *event = NULL;
    char payload[64];
    snprintf(payload, sizeof payload, "{\"number\":%d}", number);
    OK(evbus_event_new(type, aggregate, payload, &event, &error));
    OK(evbus_bus_publish(bus, event, -1, NULL, NULL, &error));
    evbus_event_free(event);
}

static inline int str_is(evbus_str text, const char *expected)
{
    return text.data != NULL && text.len == strlen(expected) && memcmp(text.data, expected, text.len) == 0;
}

static inline int bytes_are(evbus_bytes bytes, const void *expected, size_t len)
{
    return bytes.data != NULL && bytes.len == len && memcmp(bytes.data, expected, len) == 0;
}

#endif
