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

static inline void count_one(void)
{
    if (__atomic_add_fetch(&counted, 1, __ATOMIC_RELAXED) == wanted) {
        pthread_mutex_lock(&mutex);
        pthread_cond_signal(&reached);
        pthread_mutex_unlock(&mutex);
    }
}

static inline void await_all(void)
{
    pthread_mutex_lock(&mutex);
    while (__atomic_load_n(&counted, __ATOMIC_RELAXED) < wanted)
        pthread_cond_wait(&reached, &mutex);
    pthread_mutex_unlock(&mutex);
}

#endif
