/* Any order of calls, with any arguments that a program may pass, on a broker in memory: nothing crashes or hangs.
 *
 * Each byte of the input is a call; those behind it choose its objects. Objects are used until they are freed and never
 * afterwards, which is all that the header asks for.
 */

#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <evbus.h>
#include <sanitizer/lsan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLOTS = 3, RUNS_BETWEEN_LEAK_CHECKS = 256 };

static evbus_config *configs[SLOTS];
static evbus_bus *buses[SLOTS];
static evbus_event *events[SLOTS];
static evbus_subscription *subscriptions[SLOTS];
static evbus_delivery *deliveries[SLOTS];
static evbus_subscription_options *options[SLOTS];
static evbus_dead_letter_options *wanted;
static const uint8_t *input;
static size_t left;
static unsigned long runs;

static unsigned next(void)
{
    if (left == 0)
        return 0;
    left -= 1;
    return *input++;
}

static unsigned slot(void) { return next() % (SLOTS + 1); }

/* One more than there are: NULL. */
#define PICK(objects, index) ((index) < SLOTS ? (objects)[index] : NULL)

static const char *text(void)
{
    static const char *const texts[] = {"a", "topic", "", "no topic", "\xff\xfe", "{\"n\":1}", "brokers", "groupId",
                                        "clientId", "memory:", "maxInFlight", "1", "topic.dead-letter", NULL};
    return texts[next() % (sizeof texts / sizeof *texts)];
}

static const char *const of_subscriptions[][2] = {
    {"raw", "true"}, {"ordering", "key"}, {"concurrency", "2"}, {"retry.attempts", "2"}, {"retry.initialDelayMs", "1"},
    {"onExhausted", "halt"}, {"onInvalid", "dead-letter"}, {"parkKey", "true"}, {"from", "latest"},
};
static const char *const of_letters[][2] = {
    {"reason", "fatal"}, {"partition", "0"}, {"offset", "0"}, {"limit", "1"}, {"dryRun", "true"}, {"maxReplays", "1"},
};
#define SOME_PAIR(pairs) ((pairs)[next() % (sizeof(pairs) / sizeof *(pairs))])

static int64_t some_time(void) { return next() % 4; }

/* A code says what its error object says. */
static void check(int32_t code, evbus_error *error)
{
    if ((code == EVBUS_OK) != (error == NULL) || evbus_error_code(error) != code || code == EVBUS_ERR_INTERNAL) {
        fprintf(stderr, "code %d with %s\n", (int)code, evbus_error_report(error));
        abort();
    }
    evbus_error_free(error);
}

static int32_t on_event(evbus_delivery *delivery, void *user_data)
{
    (void)user_data;
    switch (evbus_delivery_offset(delivery) % 7) {
    case 5:
        return EVBUS_FATAL;
    case 6:
        return EVBUS_DEAD_LETTER;
    case 0:
        return EVBUS_RETRY;
    case 1:
        return EVBUS_PENDING;
    case 2:
        evbus_delivery_ack(delivery, NULL);
        return EVBUS_RETRY;
    case 3:
        return 1234;
    default:
        return EVBUS_DONE;
    }
}

static void on_end(const evbus_error *error, int32_t partition, int64_t offset, void *user_data)
{
    (void)partition;
    (void)offset;
    (void)user_data;
    if (error != NULL && evbus_error_code(error) == EVBUS_OK)
        abort();
}

static evbus_config *usable(void)
{
    char brokers[64];
    evbus_config *config = evbus_config_new();
    snprintf(brokers, sizeof brokers, "memory:fuzz-%lu", runs);
    evbus_config_set(config, "brokers", brokers, NULL);
    evbus_config_set(config, "clientId", "fuzz", NULL);
    evbus_config_set(config, "groupId", "fuzz", NULL);
    return config;
}

/* Compilers warn of a call that step leaves out. */
enum call {
    MAKE_CONFIG, SET_CONFIG, CONNECT, MAKE_EVENT, MAKE_RECORD, SET_ID, SET_VALUE, ADD_HEADER, PUBLISH, PUBLISH_ASYNC,
    PUBLISH_BATCH, SUBSCRIBE, SUBSCRIBE_PULL, POLL, GET_FD, FINISH, RELEASE, UNSUBSCRIBE, CLOSE, LOOK, MAKE_OPTIONS,
    SET_OPTIONS, SUBSCRIBE_WITH, FAIL, SET_WANTED, LIST_LETTERS, REPLAY, SEEK, FREE, CALLS,
};

static void step(void)
{
    evbus_error *error = NULL;
    enum call call = (enum call)(next() % CALLS);
    unsigned at = slot(), other = slot();
    int32_t code = EVBUS_OK;
    switch (call) {
    case MAKE_CONFIG:
        if (at < SLOTS && configs[at] == NULL)
            configs[at] = usable();
        return;
    case SET_CONFIG:
        code = evbus_config_set(PICK(configs, at), text(), text(), &error);
        break;
    case CONNECT:
        if (other < SLOTS && buses[other] != NULL)
            return;
        code = evbus_bus_connect(PICK(configs, at), other < SLOTS ? &buses[other] : NULL, &error);
        break;
    case MAKE_EVENT:
        if (other < SLOTS && events[other] != NULL)
            return;
        code = evbus_event_new(text(), text(), text(), other < SLOTS ? &events[other] : NULL, &error);
        break;
    case MAKE_RECORD:
        if (other < SLOTS && events[other] != NULL)
            return;
        code = evbus_event_new_record(text(), other < SLOTS ? &events[other] : NULL, &error);
        break;
    case SET_ID:
        code = evbus_event_set_id(PICK(events, at), text(), &error);
        break;
    case SET_VALUE:
        code = evbus_event_set_value(PICK(events, at), (const uint8_t *)text(), next() % 2, &error);
        break;
    case ADD_HEADER:
        code = evbus_event_add_header(PICK(events, at), text(), NULL, next() % 2, &error);
        break;
    case PUBLISH:
        code = evbus_bus_publish(PICK(buses, at), PICK(events, other), some_time(), NULL, NULL, &error);
        break;
    case PUBLISH_ASYNC:
        code = evbus_bus_publish_async(PICK(buses, at), PICK(events, other), some_time(), on_end, NULL, &error);
        break;
    case PUBLISH_BATCH: {
        const evbus_event *batch[] = {PICK(events, at), PICK(events, other)};
        evbus_publish_results *results = NULL;
        code = evbus_bus_publish_batch(PICK(buses, at), batch, next() % 3, some_time(), &results, &error);
        evbus_publish_results_free(results);
        break;
    }
    case SUBSCRIBE:
        if (other < SLOTS && subscriptions[other] != NULL)
            return;
        code = evbus_bus_subscribe(PICK(buses, at), text(), next() % 8 == 0 ? NULL : on_event, NULL, NULL,
                                   other < SLOTS ? &subscriptions[other] : NULL, &error);
        break;
    case SUBSCRIBE_PULL:
        if (other < SLOTS && subscriptions[other] != NULL)
            return;
        code = evbus_bus_subscribe_pull(PICK(buses, at), text(), other < SLOTS ? &subscriptions[other] : NULL, &error);
        break;
    case POLL:
        if (other >= SLOTS || deliveries[other] != NULL)
            return;
        code = evbus_subscription_poll(PICK(subscriptions, at), some_time() * 5, &deliveries[other], &error);
        break;
    case GET_FD: {
        int32_t fd = -1;
        code = evbus_subscription_fd(PICK(subscriptions, at), &fd, &error);
        break;
    }
    case FINISH:
        code = evbus_delivery_finish(PICK(deliveries, at), (int32_t)(next() % 6), text(), NULL, &error);
        break;
    case RELEASE:
        if (at < SLOTS) {
            evbus_delivery_release(deliveries[at]);
            deliveries[at] = NULL;
        }
        return;
    case UNSUBSCRIBE:
        code = evbus_subscription_unsubscribe(PICK(subscriptions, at), 5000, &error);
        break;
    case CLOSE:
        code = evbus_bus_close(PICK(buses, at), some_time() * 20, NULL, &error);
        break;
    case LOOK: {
        char *metrics = NULL;
        code = evbus_bus_metrics(PICK(buses, at), &metrics, &error);
        evbus_string_free(metrics);
        if (code == EVBUS_OK && evbus_bus_is_live(PICK(buses, at))) {
            metrics = NULL;
            code = evbus_bus_health_json(PICK(buses, at), &metrics, &error);
            evbus_string_free(metrics);
        }
        break;
    }
    case MAKE_OPTIONS:
        if (at < SLOTS && options[at] == NULL)
            options[at] = evbus_subscription_options_new();
        return;
    case SET_OPTIONS: {
        const char *const *pair = SOME_PAIR(of_subscriptions);
        code = evbus_subscription_options_set(PICK(options, at), pair[0], next() % 4 ? pair[1] : text(), &error);
        break;
    }
    case SUBSCRIBE_WITH: {
        unsigned with = slot();
        if (other < SLOTS && subscriptions[other] != NULL)
            return;
        if (next() % 2)
            code = evbus_bus_subscribe_with(PICK(buses, at), text(), PICK(options, with), on_event, NULL, NULL,
                                            other < SLOTS ? &subscriptions[other] : NULL, &error);
        else
            code = evbus_bus_subscribe_pull_with(PICK(buses, at), text(), PICK(options, with),
                                                 other < SLOTS ? &subscriptions[other] : NULL, &error);
        break;
    }
    case FAIL:
        code = evbus_delivery_fail(PICK(deliveries, at), (int32_t)(next() % 7), text(), text(), NULL, &error);
        break;
    case SET_WANTED: {
        const char *const *pair = SOME_PAIR(of_letters);
        code = evbus_dead_letter_options_set(wanted, pair[0], next() % 4 ? pair[1] : text(), &error);
        break;
    }
    case LIST_LETTERS: {
        evbus_dead_letters *letters = NULL;
        code = evbus_bus_dead_letters(PICK(buses, at), text(), next() % 2 ? wanted : NULL, &letters, &error);
        for (size_t index = 0; index <= evbus_dead_letters_count(letters); index++) {
            evbus_str name = {NULL, 0};
            evbus_dead_letters_field(letters, index, text());
            evbus_dead_letters_header(letters, index, next() % 3, &name, NULL);
        }
        evbus_dead_letters_free(letters);
        break;
    }
    case REPLAY: {
        evbus_replay_report *report = NULL;
        code = evbus_bus_replay_dead_letters(PICK(buses, at), text(), next() % 2 ? wanted : NULL, &report, &error);
        evbus_replay_report_free(report);
        break;
    }
    case SEEK:
        if (next() % 2)
            code = evbus_bus_seek(PICK(buses, at), text(), next() % 2, some_time() - 2, &error);
        else
            code = evbus_bus_seek_to_timestamp(PICK(buses, at), text(), next() % 2, some_time(), &error);
        break;
    case CALLS:
        abort();
    case FREE:
        switch (at) {
        case 0:
            evbus_config_free(PICK(configs, other));
            if (other < SLOTS)
                configs[other] = NULL;
            return;
        case 1:
            evbus_bus_free(PICK(buses, other));
            if (other < SLOTS)
                buses[other] = NULL;
            return;
        case 2:
            evbus_event_free(PICK(events, other));
            if (other < SLOTS)
                events[other] = NULL;
            return;
        default:
            if (next() % 2) {
                evbus_subscription_options_free(PICK(options, other));
                if (other < SLOTS)
                    options[other] = NULL;
                return;
            }
            evbus_subscription_free(PICK(subscriptions, other));
            if (other < SLOTS)
                subscriptions[other] = NULL;
            return;
        }
    }
    check(code, error);
}

/* Threads that belong to one bus: all of the library but those of its runtime, which lasts. */
static unsigned threads_of_buses(void)
{
    unsigned found = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks != NULL && (task = readdir(tasks)) != NULL;) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *comm = fopen(path, "r");
        if (comm == NULL)
            continue;
        if (fgets(name, sizeof name, comm) != NULL)
            found += strncmp(name, "evbus-", 6) == 0 && strncmp(name, "evbus-runtime", 13) != 0;
        fclose(comm);
    }
    if (tasks != NULL)
        closedir(tasks);
    return found;
}

/* A freed bus leaves no thread behind. */
static void await_threads(void)
{
    for (int turn = 0; threads_of_buses() > 0; turn++) {
        if (turn == 20000) {
            fprintf(stderr, "threads outlive their bus for 20 s\n");
            abort();
        }
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

/* What nothing holds is lost. What a thread holds that is just ending looks lost as well, and so does what a thread holds
 * that the system gave the number of one that has ended, which the sanitizer then takes it for. Both end soon: threads of
 * the runtime when they were idle for 10 s. */
static void check_leaks(void)
{
    for (int turn = 0; __lsan_do_recoverable_leak_check() != 0; turn++) {
        if (turn == 60)
            abort();
        nanosleep(&(struct timespec){0, 500000000}, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = data;
    left = size < 200 ? size : 200;
    runs += 1;
    /* Most inputs begin with a bus that works, or few would get anywhere. */
    wanted = evbus_dead_letter_options_new();
    configs[0] = usable();
    evbus_bus_connect(configs[0], &buses[0], NULL);
    evbus_event_new("topic", "a", "{}", &events[0], NULL);
    while (left > 0)
        step();
    for (int index = 0; index < SLOTS; index++) {
        evbus_delivery_release(deliveries[index]);
        evbus_subscription_options_free(options[index]);
        evbus_subscription_free(subscriptions[index]);
        evbus_bus_close(buses[index], 1000, NULL, NULL);
        evbus_bus_free(buses[index]);
        evbus_event_free(events[index]);
        evbus_config_free(configs[index]);
        deliveries[index] = NULL;
        options[index] = NULL;
        subscriptions[index] = NULL;
        buses[index] = NULL;
        events[index] = NULL;
        configs[index] = NULL;
    }
    evbus_dead_letter_options_free(wanted);
    await_threads();
    if (runs % RUNS_BETWEEN_LEAK_CHECKS == 0)
        check_leaks();
    return 0;
}
