/* Handlers and polling: order, failures, finishing later from other threads, descriptors, ends. */

#include "check.h"
#include <poll.h>

enum { AGGREGATES = 5, EACH = 40 };

typedef struct {
    pthread_mutex_t mutex;
    counter handled;
    counter freed;
    long next[AGGREGATES];
    evbus_delivery *pending;
} state;

static int number_of(const evbus_delivery *delivery)
{
    evbus_str payload = evbus_delivery_payload(delivery);
    int number = -1;
    char text[64];
    CHECK(payload.len < sizeof text);
    memcpy(text, payload.data, payload.len);
    text[payload.len] = '\0';
    CHECK(sscanf(text, "{\"number\":%d}", &number) == 1);
    return number;
}

static int32_t in_order(evbus_delivery *delivery, void *user_data)
{
    state *state = user_data;
    evbus_str aggregate = evbus_delivery_aggregate_id(delivery);
    int of = aggregate.data[aggregate.len - 1] - '0';
    pthread_mutex_lock(&state->mutex);
    CHECK(number_of(delivery) == state->next[of]);
    state->next[of] += 1;
    pthread_mutex_unlock(&state->mutex);
    counter_add(&state->handled, 1);
    return EVBUS_DONE;
}

static void on_free(void *user_data)
{
    state *state = user_data;
    counter_add(&state->freed, 1);
}

static void publish_all(evbus_bus *bus, const char *type)
{
    for (int number = 0; number < EACH; number++)
        for (int of = 0; of < AGGREGATES; of++) {
            char aggregate[16];
            snprintf(aggregate, sizeof aggregate, "a%d", of);
            publish_number(bus, type, aggregate, number);
        }
}

static void handlers(evbus_bus *bus)
{
    evbus_error *error = NULL;
    static state first = {PTHREAD_MUTEX_INITIALIZER, COUNTER_INIT, COUNTER_INIT, {0}, NULL};
    static state second = {PTHREAD_MUTEX_INITIALIZER, COUNTER_INIT, COUNTER_INIT, {0}, NULL};
    evbus_subscription *subscription = NULL;
    OK(evbus_bus_subscribe(bus, "handlers", in_order, &first, on_free, &subscription, &error));
    OK(evbus_bus_subscribe(bus, "handlers", in_order, &second, on_free, NULL, &error));
    evbus_delivery *delivery = NULL;
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_subscription_poll(subscription, 0, &delivery, &error));
    publish_all(bus, "handlers");
    CHECK(counter_await(&first.handled, AGGREGATES * EACH) && counter_await(&second.handled, AGGREGATES * EACH));
    OK(evbus_subscription_unsubscribe(subscription, -1, &error));
    CHECK(counter_await(&first.freed, 1));
    evbus_subscription_free(subscription);
    publish_number(bus, "handlers", "a0", EACH);
    CHECK(counter_await(&second.handled, AGGREGATES * EACH + 1));
    CHECK(counter_get(&first.handled) == AGGREGATES * EACH && counter_get(&second.freed) == 0);
}

/* Each outcome once; the events behind a failed one still come. */
static int32_t by_number(evbus_delivery *delivery, void *user_data)
{
    evbus_error *error = NULL;
    state *state = user_data;
    bool stale = true;
    if (number_of(delivery) == 4) {
        /* Before it is counted, which the test waits for. */
        OK(evbus_delivery_retain(delivery, &error));
        state->pending = delivery;
    }
    counter_add(&state->handled, 1);
    switch (number_of(delivery)) {
    case 0:
        return EVBUS_RETRY;
    case 1:
        return 77;
    case 2:
        /* Nobody holds it. */
        return EVBUS_PENDING;
    case 3:
        OK(evbus_delivery_finish(delivery, EVBUS_DONE, NULL, &stale, &error));
        CHECK(!stale);
        FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_delivery_retry(delivery, "late", &error));
        FAILS(EVBUS_ERR_ARGUMENT, evbus_delivery_finish(delivery, 77, NULL, NULL, &error));
        return EVBUS_RETRY;
    case 4:
        return EVBUS_PENDING;
    default:
        return EVBUS_DONE;
    }
}

static char logged[16384];

static void on_log(const evbus_log_record *record, void *user_data)
{
    pthread_mutex_t *mutex = user_data;
    CHECK(evbus_log_record_message(record)[0] != '\0' && evbus_log_record_fields(record)[0] == '{');
    pthread_mutex_lock(mutex);
    size_t used = strlen(logged);
    snprintf(logged + used, sizeof logged - used, "%d %s %s\n", (int)evbus_log_record_level(record),
             evbus_log_record_event(record), evbus_code_name(evbus_error_code(evbus_log_record_error(record))));
    pthread_mutex_unlock(mutex);
}

static void outcomes(void)
{
    evbus_error *error = NULL;
    evbus_bus *bus = NULL;
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static state state = {PTHREAD_MUTEX_INITIALIZER, COUNTER_INIT, COUNTER_INIT, {0}, NULL};
    evbus_config *config = memory_config("outcomes", "outcomes");
    OK(evbus_config_set_log(config, EVBUS_LOG_INFO, on_log, &mutex, NULL, &error));
    OK(evbus_config_set(config, "retry.attempts", "1", &error));
    OK(evbus_config_set(config, "onExhausted", "skip", &error));
    OK(evbus_bus_connect(config, &bus, &error));
    evbus_config_free(config);
    OK(evbus_bus_subscribe(bus, "outcomes", by_number, &state, on_free, NULL, &error));
    for (int number = 0; number < 7; number++)
        publish_number(bus, "outcomes", "a", number);
    CHECK(counter_await(&state.handled, 5));
    /* The fifth is open: what is behind it in its partition waits for it. */
    CHECK(counter_get(&state.handled) == 5);
    OK(evbus_delivery_ack(state.pending, &error));
    CHECK(counter_await(&state.handled, 7));
    CHECK(number_of(state.pending) == 4);
    evbus_delivery_release(state.pending);
    close_bus(bus);
    CHECK(counter_get(&state.freed) == 1);
    CHECK(strstr(logged, "1 connection_established EVBUS_OK\n") != NULL || strstr(logged, "memory_transport") != NULL);
    CHECK(strstr(logged, "3 handler_failed EVBUS_HANDLER\n") != NULL);
    CHECK(strstr(logged, "2 handler_misbehaved EVBUS_OK\n") != NULL);
}

/* Fails its first attempts, then does well; the other handler of the type is not called again. */
static int32_t fails_first(evbus_delivery *delivery, void *user_data)
{
    state *state = user_data;
    counter_add(&state->handled, 1);
    CHECK(evbus_delivery_is_last_attempt(delivery) == (evbus_delivery_attempt(delivery) == 3));
    return evbus_delivery_attempt(delivery) < 3 ? EVBUS_RETRY : EVBUS_DONE;
}

static int32_t refuses(evbus_delivery *delivery, void *user_data)
{
    counter_add(&((state *)user_data)->handled, 1);
    return number_of(delivery) == 0 ? EVBUS_DEAD_LETTER : EVBUS_SKIP;
}

static int32_t well(evbus_delivery *delivery, void *user_data)
{
    (void)delivery;
    counter_add(&((state *)user_data)->handled, 1);
    return EVBUS_DONE;
}

static void retries_and_dead_letters(void)
{
    evbus_error *error = NULL;
    evbus_bus *bus = NULL;
    evbus_subscription *letters = NULL;
    evbus_delivery *delivery = NULL;
    static state again = {PTHREAD_MUTEX_INITIALIZER, COUNTER_INIT, COUNTER_INIT, {0}, NULL};
    static state once = {PTHREAD_MUTEX_INITIALIZER, COUNTER_INIT, COUNTER_INIT, {0}, NULL};
    static state refused = {PTHREAD_MUTEX_INITIALIZER, COUNTER_INIT, COUNTER_INIT, {0}, NULL};
    evbus_config *config = memory_config("retries", "retries");
    OK(evbus_config_set(config, "retry.attempts", "3", &error));
    OK(evbus_config_set(config, "retry.initialDelayMs", "1", &error));
    OK(evbus_bus_connect(config, &bus, &error));
    OK(evbus_config_set(config, "handlerTimeoutMs", "1000", &error));
    evbus_bus *none = NULL;
    FAILS(EVBUS_ERR_CONFIG, evbus_bus_connect(config, &none, &error));
    evbus_config_free(config);
    OK(evbus_bus_subscribe(bus, "retried", fails_first, &again, NULL, NULL, &error));
    OK(evbus_bus_subscribe(bus, "retried", well, &once, NULL, NULL, &error));
    publish_number(bus, "retried", "a", 0);
    publish_number(bus, "retried", "a", 1);
    CHECK(counter_await(&again.handled, 6) && counter_await(&once.handled, 2));
    OK(evbus_bus_subscribe(bus, "refused", refuses, &refused, NULL, NULL, &error));
    OK(evbus_bus_subscribe_pull(bus, "refused.dead-letter", &letters, &error));
    publish_number(bus, "refused", "a", 0);
    publish_number(bus, "refused", "a", 1);
    OK(evbus_subscription_poll(letters, DEADLINE_MS, &delivery, &error));
    CHECK(delivery != NULL && number_of(delivery) == 0);
    OK(evbus_delivery_ack(delivery, &error));
    evbus_delivery_release(delivery);
    CHECK(counter_await(&refused.handled, 2));
    evbus_subscription_free(letters);
    close_bus(bus);
    CHECK(counter_get(&again.handled) == 6 && counter_get(&once.handled) == 2 && counter_get(&refused.handled) == 2);
}

static void polling(evbus_bus *bus)
{
    evbus_error *error = NULL;
    evbus_subscription *subscription = NULL;
    evbus_delivery *delivery = NULL;
    int fd = -1;
    long next[AGGREGATES] = {0};
    OK(evbus_bus_subscribe_pull(bus, "polling", &subscription, &error));
    OK(evbus_subscription_fd(subscription, &fd, &error));
    struct pollfd waiting = {.fd = fd, .events = POLLIN, .revents = 0};
    CHECK(poll(&waiting, 1, 0) == 0);
    OK(evbus_subscription_poll(subscription, 0, &delivery, &error));
    CHECK(delivery == NULL);
    publish_all(bus, "polling");
    for (int handled = 0; handled < AGGREGATES * EACH; handled++) {
        CHECK(poll(&waiting, 1, DEADLINE_MS) == 1);
        OK(evbus_subscription_poll(subscription, 0, &delivery, &error));
        CHECK(delivery != NULL);
        evbus_str aggregate = evbus_delivery_aggregate_id(delivery);
        CHECK(number_of(delivery) == next[aggregate.data[aggregate.len - 1] - '0']++);
        OK(evbus_delivery_ack(delivery, &error));
        evbus_delivery_release(delivery);
    }
    CHECK(poll(&waiting, 1, 0) == 0);

    /* One that is released comes again, and the next of its partition when it has ended. */
    evbus_delivery *second = NULL;
    publish_number(bus, "polling", "a0", EACH);
    publish_number(bus, "polling", "a0", EACH + 1);
    OK(evbus_subscription_poll(subscription, DEADLINE_MS, &delivery, &error));
    CHECK(delivery != NULL && number_of(delivery) == EACH);
    OK(evbus_subscription_poll(subscription, 50, &second, &error));
    CHECK(second == NULL);
    evbus_delivery_release(delivery);
    OK(evbus_subscription_poll(subscription, DEADLINE_MS, &delivery, &error));
    CHECK(delivery != NULL && number_of(delivery) == EACH);
    OK(evbus_delivery_ack(delivery, &error));
    evbus_delivery_release(delivery);
    OK(evbus_subscription_poll(subscription, DEADLINE_MS, &second, &error));
    CHECK(second != NULL && number_of(second) == EACH + 1);
    OK(evbus_delivery_retry(second, "the disk is full", &error));
    evbus_delivery_release(second);

    /* The end is shown for ever. */
    OK(evbus_subscription_unsubscribe(subscription, -1, &error));
    for (int times = 0; times < 2; times++) {
        CHECK(poll(&waiting, 1, DEADLINE_MS) == 1);
        FAILS(EVBUS_ERR_CLOSED, evbus_subscription_poll(subscription, -1, &delivery, &error));
    }
    evbus_subscription_free(subscription);
}

typedef struct {
    evbus_bus *bus;
    evbus_subscription *subscription;
    counter handled;
    counter freed;
} own;

static void on_own_free(void *user_data)
{
    counter_add(&((own *)user_data)->freed, 1);
}

/* A handler may publish, subscribe and end its own subscription. */
static int32_t ends_itself(evbus_delivery *delivery, void *user_data)
{
    evbus_error *error = NULL;
    own *own = user_data;
    hand_over();
    publish_number(own->bus, "more", "a", number_of(delivery));
    OK(evbus_subscription_unsubscribe(own->subscription, -1, &error));
    CHECK(counter_get(&own->freed) == 0);
    counter_add(&own->handled, 1);
    return EVBUS_DONE;
}

static void from_within(evbus_bus *bus)
{
    evbus_error *error = NULL;
    static own own = {NULL, NULL, COUNTER_INIT, COUNTER_INIT};
    own.bus = bus;
    hand_over();
    OK(evbus_bus_subscribe(bus, "within", ends_itself, &own, on_own_free, &own.subscription, &error));
    publish_number(bus, "within", "a", 1);
    CHECK(counter_await(&own.handled, 1) && counter_await(&own.freed, 1));
    publish_number(bus, "within", "a", 2);
    evbus_subscription_free(own.subscription);
    /* A subscription that goes without being ended ends too. */
    evbus_subscription *subscription = NULL;
    OK(evbus_bus_subscribe_pull(bus, "within", &subscription, &error));
    evbus_subscription_free(subscription);
    CHECK(counter_get(&own.handled) == 1);
}

typedef struct {
    counter entered;
    counter let_go;
} held_up;

static int32_t second_waits(evbus_delivery *delivery, void *user_data)
{
    held_up *held_up = user_data;
    counter_add(&held_up->entered, 1);
    if (number_of(delivery) == 1)
        CHECK(counter_await(&held_up->let_go, 1));
    return EVBUS_DONE;
}

/* What a quick handler answered counts at once, also while the next one of the same thread takes its time. */
static void answers_ahead(void)
{
    evbus_error *error = NULL;
    static held_up held_up = {COUNTER_INIT, COUNTER_INIT};
    evbus_bus *bus = memory_bus("ahead", "ahead");
    for (int number = 0; number < 3; number++)
        publish_number(bus, "ahead", "a", number);
    OK(evbus_bus_subscribe(bus, "ahead", second_waits, &held_up, NULL, NULL, &error));
    CHECK(counter_await(&held_up.entered, 2));
    int64_t until = now_ms() + DEADLINE_MS;
    for (int counts = 0; !counts;) {
        char *text = NULL;
        const struct timespec moment = {0, 1000000};
        OK(evbus_bus_metrics(bus, &text, &error));
        counts = strstr(text, "evbus_consume_handled_total 1\n") != NULL;
        evbus_string_free(text);
        CHECK(now_ms() < until);
        nanosleep(&moment, NULL);
    }
    CHECK(counter_get(&held_up.entered) == 2);
    counter_add(&held_up.let_go, 1);
    CHECK(counter_await(&held_up.entered, 3));
    close_bus(bus);
}

int main(void)
{
    evbus_bus *bus = memory_bus("subscribe", "subscribe");
    handlers(bus);
    polling(bus);
    from_within(bus);
    close_bus(bus);
    outcomes();
    retries_and_dead_letters();
    answers_ahead();
    puts("ok");
    return 0;
}
