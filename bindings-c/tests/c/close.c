/* Closing: from callbacks, with handlers that never return, with events that are not finished, twice, at once. */

#include "check.h"

typedef struct {
    evbus_bus *bus;
    counter entered;
    counter leave;
    counter left;
    counter freed;
} held;

static void on_free(void *user_data)
{
    counter_add(&((held *)user_data)->freed, 1);
}

static int32_t stays(evbus_delivery *delivery, void *user_data)
{
    held *held = user_data;
    (void)delivery;
    counter_add(&held->entered, 1);
    CHECK(counter_await(&held->leave, 1));
    counter_add(&held->left, 1);
    return EVBUS_DONE;
}

/* A handler that does not return: closing ends in time and says so; closing again waits for it. */
static void stuck(void)
{
    evbus_error *error = NULL;
    static held held = {NULL, COUNTER_INIT, COUNTER_INIT, COUNTER_INIT, COUNTER_INIT};
    evbus_close_report *report = NULL;
    evbus_bus *bus = memory_bus("stuck", "stuck");
    OK(evbus_bus_subscribe(bus, "stuck", stays, &held, on_free, NULL, &error));
    publish_number(bus, "stuck", "a", 1);
    publish_number(bus, "stuck", "a", 2);
    CHECK(counter_await(&held.entered, 1));
    int64_t begin = now_ms();
    FAILS(EVBUS_ERR_TIMEOUT, evbus_bus_close(bus, 500, &report, &error));
    CHECK(now_ms() - begin < 1500);
    CHECK(report != NULL && evbus_close_report_callbacks_running(report) == 1 && !evbus_close_report_clean(report));
    CHECK(evbus_close_report_abandoned(report) >= 1 && evbus_close_report_handled(report) == 0);
    evbus_close_report_free(report);
    CHECK(counter_get(&held.freed) == 0);
    counter_add(&held.leave, 1);
    OK(evbus_bus_close(bus, 10000, &report, &error));
    CHECK(evbus_close_report_callbacks_running(report) == 0);
    evbus_close_report_free(report);
    CHECK(counter_await(&held.freed, 1));
    /* The second event was never handed out. */
    CHECK(counter_get(&held.entered) == 1 && counter_get(&held.left) == 1);
    evbus_bus_free(bus);
}

static int32_t closes(evbus_delivery *delivery, void *user_data)
{
    evbus_error *error = NULL;
    held *held = user_data;
    (void)delivery;
    hand_over();
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_bus_close(held->bus, 1000, NULL, &error));
    counter_add(&held->entered, 1);
    return EVBUS_DONE;
}

static void blocks(const evbus_error *stored, int32_t partition, int64_t offset, void *user_data)
{
    evbus_error *error = NULL;
    held *held = user_data;
    evbus_event *event = NULL;
    evbus_subscription *subscription = NULL;
    (void)partition;
    (void)offset;
    hand_over();
    CHECK(stored == NULL);
    OK(evbus_event_new("more", "a", "{}", &event, &error));
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_bus_close(held->bus, 1000, NULL, &error));
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_bus_publish(held->bus, event, 1000, NULL, NULL, &error));
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_bus_subscribe_pull(held->bus, "more", &subscription, &error));
    /* What does not block is fine. */
    OK(evbus_bus_publish_async(held->bus, event, -1, NULL, NULL, &error));
    evbus_event_free(event);
    counter_add(&held->left, 1);
}

static void from_callbacks(void)
{
    evbus_error *error = NULL;
    static held held = {NULL, COUNTER_INIT, COUNTER_INIT, COUNTER_INIT, COUNTER_INIT};
    evbus_event *event = NULL;
    held.bus = memory_bus("callbacks", "callbacks");
    hand_over();
    OK(evbus_bus_subscribe(held.bus, "closes", closes, &held, NULL, NULL, &error));
    OK(evbus_event_new("closes", "a", "{}", &event, &error));
    OK(evbus_bus_publish_async(held.bus, event, -1, blocks, &held, &error));
    CHECK(counter_await(&held.entered, 1) && counter_await(&held.left, 1));
    evbus_event_free(event);
    close_bus(held.bus);
}

static void *acknowledge(void *user_data)
{
    evbus_error *error = NULL;
    evbus_delivery *delivery = user_data;
    struct timespec moment = {0, 50000000};
    /* The test is about an answer that comes while the bus closes; when exactly does not matter. */
    nanosleep(&moment, NULL);
    OK(evbus_delivery_ack(delivery, &error));
    evbus_delivery_release(delivery);
    return NULL;
}

/* Events that are out when the bus closes: one is finished in time, one is not, and stays good to use. */
static void unfinished(void)
{
    evbus_error *error = NULL;
    evbus_subscription *fast = NULL, *slow = NULL;
    evbus_delivery *in_time = NULL, *late = NULL, *none = NULL;
    evbus_close_report *report = NULL;
    pthread_t thread;
    evbus_bus *bus = memory_bus("unfinished", "unfinished");
    OK(evbus_bus_subscribe_pull(bus, "fast", &fast, &error));
    OK(evbus_bus_subscribe_pull(bus, "slow", &slow, &error));
    publish_number(bus, "fast", "a", 1);
    publish_number(bus, "slow", "a", 1);
    OK(evbus_subscription_poll(fast, DEADLINE_MS, &in_time, &error));
    OK(evbus_subscription_poll(slow, DEADLINE_MS, &late, &error));
    CHECK(in_time != NULL && late != NULL);
    CHECK(pthread_create(&thread, NULL, acknowledge, in_time) == 0);
    OK(evbus_bus_close(bus, 1000, &report, &error));
    pthread_join(thread, NULL);
    CHECK(evbus_close_report_handled(report) == 1 && evbus_close_report_abandoned(report) == 1);
    evbus_close_report_free(report);
    FAILS(EVBUS_ERR_CLOSED, evbus_subscription_poll(slow, -1, &none, &error));
    evbus_bus_free(bus);
    bool stale = false;
    CHECK(str_is(evbus_delivery_aggregate_id(late), "a"));
    OK(evbus_delivery_finish(late, EVBUS_DONE, NULL, &stale, &error));
    CHECK(stale);
    evbus_delivery_release(late);
    evbus_subscription_free(fast);
    evbus_subscription_free(slow);
}

static void *close_too(void *user_data)
{
    evbus_error *error = NULL;
    OK(evbus_bus_close(user_data, 5000, NULL, &error));
    return NULL;
}

static void at_once(void)
{
    pthread_t threads[4];
    evbus_bus *bus = memory_bus("at-once", "at-once");
    for (int index = 0; index < 4; index++)
        CHECK(pthread_create(&threads[index], NULL, close_too, bus) == 0);
    for (int index = 0; index < 4; index++)
        pthread_join(threads[index], NULL);
    evbus_bus_free(bus);
}

/* A bus that is freed without being closed: publishes in flight end, the user data goes, nothing hangs. */
static void on_end(const evbus_error *error, int32_t partition, int64_t offset, void *user_data)
{
    (void)error;
    (void)partition;
    (void)offset;
    counter_add(user_data, 1);
}

static int32_t done(evbus_delivery *delivery, void *user_data)
{
    (void)delivery;
    (void)user_data;
    return EVBUS_DONE;
}

static void freed_open(void)
{
    evbus_error *error = NULL;
    static counter ended = COUNTER_INIT;
    static held held = {NULL, COUNTER_INIT, COUNTER_INIT, COUNTER_INIT, COUNTER_INIT};
    evbus_event *event = NULL;
    evbus_subscription *subscription = NULL;
    evbus_bus *bus = memory_bus("freed", "freed");
    OK(evbus_bus_subscribe(bus, "freed", done, &held, on_free, &subscription, &error));
    OK(evbus_event_new("freed", "a", "{}", &event, &error));
    for (int index = 0; index < 100; index++)
        OK(evbus_bus_publish_async(bus, event, -1, on_end, &ended, &error));
    evbus_bus_free(bus);
    CHECK(counter_await(&ended, 100) && counter_await(&held.freed, 1));
    FAILS(EVBUS_ERR_CLOSED, evbus_subscription_unsubscribe(subscription, 0, &error));
    evbus_subscription_free(subscription);
    evbus_event_free(event);
}

int main(void)
{
    stuck();
    from_callbacks();
    unfinished();
    at_once();
    freed_open();
    puts("ok");
    return 0;
}
