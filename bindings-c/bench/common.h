/* What both sides of the benchmark send and report. */

#ifndef COMMON_H
#define COMMON_H

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define IN_FLIGHT "8192"
#define VALUE_SIZE 276

static inline double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* An event of exactly VALUE_SIZE bytes. */
static inline void value_of(char *value, char *event_id, char *key, long number)
{
    snprintf(event_id, 37, "5f2c1c2e-8a3b-4c7e-9d51-%012lu", (unsigned long)number % 1000000000000UL);
    snprintf(key, 32, "order-%ld", number % 10000);
    int length = snprintf(value, VALUE_SIZE + 1,
                          "{\"eventId\":\"%s\",\"eventType\":\"order.placed\",\"occurredOn\":\"2026-01-01T00:00:00.000Z\","
                          "\"aggregateId\":\"%s\",\"version\":1,\"payload\":{\"pad\":\"",
                          event_id, key);
    memset(value + length, 'x', (size_t)(VALUE_SIZE - 3 - length));
    memcpy(value + VALUE_SIZE - 3, "\"}}", 4);
}

static inline void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static inline void report(long events, double elapsed)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"eventsPerSecond\":%.0f,\"peakKiB\":%ld}\n", (double)events / elapsed, usage.ru_maxrss);
}

/* Counts up to a number and lets a thread wait for it. */
static long counted;
static long wanted;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t reached = PTHREAD_COND_INITIALIZER;

/* When the first and the last record were handled, in nanoseconds: consuming is timed between them, as connecting and
   joining a group take what the broker likes. */
static int64_t first_at, last_at;

static inline int64_t nanoseconds(void)
{
    return (int64_t)(seconds() * 1e9);
}

static inline void count_one(void)
{
    long number = __atomic_add_fetch(&counted, 1, __ATOMIC_RELAXED);
    if (number == 1)
        __atomic_store_n(&first_at, nanoseconds(), __ATOMIC_RELAXED);
    if (number == wanted) {
        __atomic_store_n(&last_at, nanoseconds(), __ATOMIC_RELAXED);
        pthread_mutex_lock(&mutex);
        pthread_cond_signal(&reached);
        pthread_mutex_unlock(&mutex);
    }
}

/* From the first record to the last. */
static inline double elapsed_between(void)
{
    int64_t first = __atomic_load_n(&first_at, __ATOMIC_RELAXED);
    return (double)(__atomic_load_n(&last_at, __ATOMIC_RELAXED) - first) / 1e9;
}

/* What a record consists of, looked at as a program does that needs all of it. */
static inline void check_record(size_t key_size, size_t value_size, int headers, size_t headers_size)
{
    /* eventId, version and timestamp. */
    if (key_size == 0 || value_size != VALUE_SIZE || headers != 3 || headers_size != 36 + 1 + 24)
        fail("consume", "another record than was published");
}

static inline void await_all(void)
{
    pthread_mutex_lock(&mutex);
    while (__atomic_load_n(&counted, __ATOMIC_RELAXED) < wanted)
        pthread_cond_wait(&reached, &mutex);
    pthread_mutex_unlock(&mutex);
}

#endif
