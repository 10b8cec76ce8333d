/* Many threads on one bus: publishing, polling, subscribing and ending, reading metrics, until it closes under them. */

#include "check.h"

enum { PUBLISHERS = 4, EACH = 400, POLLERS = 3, SUBSCRIBERS = 3 };

static evbus_bus *bus;
static evbus_subscription *shared;
static counter stored = COUNTER_INIT;
static counter polled = COUNTER_INIT;
static counter handled = COUNTER_INIT;

static void *publish(void *user_data)
{
    char aggregate[16];
    snprintf(aggregate, sizeof aggregate, "p%d", *(int *)user_data);
    for (int number = 0; number < EACH; number++) {
        publish_number(bus, "threads", aggregate, number);
        counter_add(&stored, 1);
    }
    return NULL;
}

static void *poll_all(void *user_data)
{
    (void)user_data;
    for (;;) {
        evbus_error *error = NULL;
        evbus_delivery *delivery = NULL;
        int32_t code = evbus_subscription_poll(shared, -1, &delivery, &error);
        if (code == EVBUS_ERR_CLOSED) {
            evbus_error_free(error);
            return NULL;
        }
        OK(code);
        OK(evbus_delivery_ack(delivery, &error));
        evbus_delivery_release(delivery);
        counter_add(&polled, 1);
    }
}

static int32_t on_event(evbus_delivery *delivery, void *user_data)
{
    (void)user_data;
    CHECK(evbus_delivery_offset(delivery) >= 0);
    counter_add(&handled, 1);
    return EVBUS_DONE;
}

static void *come_and_go(void *user_data)
{
    (void)user_data;
    for (int times = 0; times < 3; times++) {
        evbus_error *error = NULL;
        evbus_subscription *subscription = NULL;
        char *text = NULL;
        OK(evbus_bus_subscribe(bus, "threads", on_event, NULL, NULL, &subscription, &error));
        OK(evbus_bus_metrics(bus, &text, &error));
        evbus_string_free(text);
        OK(evbus_subscription_unsubscribe(subscription, -1, &error));
        evbus_subscription_free(subscription);
    }
    return NULL;
}

int main(void)
{
    evbus_error *error = NULL;
    pthread_t threads[PUBLISHERS + POLLERS + SUBSCRIBERS];
    int numbers[PUBLISHERS];
    int count = 0;
    bus = memory_bus("threads", "threads");
    OK(evbus_bus_subscribe_pull(bus, "threads", &shared, &error));
    for (int index = 0; index < POLLERS; index++)
        CHECK(pthread_create(&threads[count++], NULL, poll_all, NULL) == 0);
    for (int index = 0; index < PUBLISHERS; index++) {
        numbers[index] = index;
        CHECK(pthread_create(&threads[count++], NULL, publish, &numbers[index]) == 0);
    }
    for (int index = 0; index < SUBSCRIBERS; index++)
        CHECK(pthread_create(&threads[count++], NULL, come_and_go, NULL) == 0);
    CHECK(counter_await(&stored, PUBLISHERS * EACH));
    CHECK(counter_await(&polled, PUBLISHERS * EACH));
    for (int index = POLLERS; index < count; index++)
        pthread_join(threads[index], NULL);
    OK(evbus_bus_close(bus, 10000, NULL, &error));
    for (int index = 0; index < POLLERS; index++)
        pthread_join(threads[index], NULL);
    CHECK(counter_get(&polled) == PUBLISHERS * EACH);
    evbus_subscription_free(shared);
    evbus_bus_free(bus);
    puts("ok");
    return 0;
}
