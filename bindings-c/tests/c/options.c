/* Options of one subscription: records as they are, order and retries of its own, verdicts with a code. */

#include "check.h"

static evbus_subscription_options *options_of(const char *const pairs[][2], size_t count)
{
    evbus_error *error = NULL;
    evbus_subscription_options *options = evbus_subscription_options_new();
    CHECK(options != NULL);
    for (size_t index = 0; index < count; index++)
        OK(evbus_subscription_options_set(options, pairs[index][0], pairs[index][1], &error));
    return options;
}

#define OPTIONS(...)                                                                                                  \
    options_of((const char *const[][2]){__VA_ARGS__}, sizeof((const char *const[][2]){__VA_ARGS__}) / sizeof(char *[2]))

static evbus_delivery *next_of(evbus_subscription *subscription)
{
    evbus_error *error = NULL;
    evbus_delivery *delivery = NULL;
    OK(evbus_subscription_poll(subscription, DEADLINE_MS, &delivery, &error));
    CHECK(delivery != NULL);
    return delivery;
}

static void done(evbus_delivery *delivery)
{
    evbus_error *error = NULL;
    OK(evbus_delivery_ack(delivery, &error));
    evbus_delivery_release(delivery);
}

/* A record in partition 0; a length of -1 stands for Kafka's null. */
static evbus_event *record(const char *topic, const char *key, int key_len, const char *value, int value_len)
{
    evbus_error *error = NULL;
    evbus_event *event = NULL;
    OK(evbus_event_new_record(topic, &event, &error));
    OK(evbus_event_set_partition(event, 0, &error));
    if (key_len >= 0)
        OK(evbus_event_set_key(event, (const uint8_t *)key, (size_t)key_len, &error));
    if (value_len >= 0)
        OK(evbus_event_set_value(event, (const uint8_t *)value, (size_t)value_len, &error));
    return event;
}

static void publish(evbus_bus *bus, evbus_event *event)
{
    evbus_error *error = NULL;
    OK(evbus_bus_publish(bus, event, -1, NULL, NULL, &error));
    evbus_event_free(event);
}

static void header_is(const evbus_delivery *delivery, size_t index, const char *name, const char *value, int len)
{
    evbus_error *error = NULL;
    evbus_str found = {NULL, 0};
    evbus_bytes bytes = {NULL, 0};
    OK(evbus_delivery_header_at(delivery, index, &found, &bytes, &error));
    CHECK(str_is(found, name));
    CHECK(len < 0 ? bytes.data == NULL : bytes_are(bytes, value, (size_t)len));
}

static void records(evbus_bus *bus)
{
    evbus_error *error = NULL;
    evbus_subscription *subscription = NULL, *other = NULL;
    evbus_event *binary = record("blobs", "\x00\xff", 2, "\xff\x00\x9f\n", 4);
    OK(evbus_event_set_timestamp(binary, 1700000000123, &error));
    OK(evbus_event_add_header(binary, "h", (const uint8_t *)"\x00\x9f", 2, &error));
    OK(evbus_event_add_header(binary, "h", NULL, 0, &error));
    OK(evbus_event_add_header(binary, "h", (const uint8_t *)"", 0, &error));
    publish(bus, binary);
    publish(bus, record("blobs", "", -1, "", -1));
    publish(bus, record("blobs", "", 0, "", 0));
    publish_number(bus, "blobs", "a", 7);

    evbus_subscription_options *raw = OPTIONS({"raw", "true"}, {"retry.initialDelayMs", "1"});
    OK(evbus_bus_subscribe_pull_with(bus, "blobs", raw, &subscription, &error));
    /* All subscriptions of a topic want the same. */
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_subscribe_pull(bus, "blobs", &other, &error));
    evbus_subscription_options_free(raw);

    evbus_delivery *delivery = next_of(subscription);
    CHECK(str_is(evbus_delivery_topic(delivery), "blobs"));
    CHECK(evbus_delivery_partition(delivery) == 0 && evbus_delivery_offset(delivery) == 0);
    CHECK(evbus_delivery_timestamp(delivery) == 1700000000123);
    CHECK(bytes_are(evbus_delivery_key(delivery), "\x00\xff", 2));
    CHECK(bytes_are(evbus_delivery_value(delivery), "\xff\x00\x9f\n", 4));
    CHECK(evbus_delivery_header_count(delivery) == 3);
    header_is(delivery, 0, "h", "\x00\x9f", 2);
    header_is(delivery, 1, "h", NULL, -1);
    header_is(delivery, 2, "h", "", 0);
    CHECK(evbus_delivery_event_id(delivery).data == NULL && evbus_delivery_payload(delivery).data == NULL);
    CHECK(evbus_delivery_version(delivery) == 0);
    OK(evbus_delivery_retry(delivery, "once more", &error));
    evbus_delivery_release(delivery);
    delivery = next_of(subscription);
    CHECK(evbus_delivery_offset(delivery) == 0 && evbus_delivery_attempt(delivery) == 2);
    done(delivery);

    delivery = next_of(subscription);
    CHECK(evbus_delivery_key(delivery).data == NULL && evbus_delivery_value(delivery).data == NULL);
    CHECK(evbus_delivery_header_count(delivery) == 0);
    done(delivery);
    delivery = next_of(subscription);
    CHECK(bytes_are(evbus_delivery_key(delivery), "", 0) && bytes_are(evbus_delivery_value(delivery), "", 0));
    done(delivery);
    delivery = next_of(subscription);
    CHECK(str_is(evbus_delivery_aggregate_id(delivery), "a") && str_is(evbus_delivery_payload(delivery), "{\"number\":7}"));
    done(delivery);
    evbus_subscription_free(subscription);
}

typedef struct {
    counter handled;
    counter go_on;
} state;

/* Key a waits until key b was handled, which needs both at once. */
static int32_t side_by_side(evbus_delivery *delivery, void *user_data)
{
    state *state = user_data;
    evbus_bytes key = evbus_delivery_key(delivery);
    if (bytes_are(key, "a", 1))
        CHECK(counter_await(&state->go_on, 1));
    else
        counter_add(&state->go_on, 1);
    counter_add(&state->handled, 1);
    return EVBUS_DONE;
}

static void order_of_keys(evbus_bus *bus)
{
    evbus_error *error = NULL;
    static state state = {COUNTER_INIT, COUNTER_INIT};
    evbus_subscription_options *options = OPTIONS({"raw", "true"}, {"ordering", "key"}, {"concurrency", "2"});
    publish(bus, record("keys", "a", 1, "1", 1));
    publish(bus, record("keys", "b", 1, "2", 1));
    OK(evbus_bus_subscribe_with(bus, "keys", options, side_by_side, &state, NULL, NULL, &error));
    evbus_subscription_options_free(options);
    CHECK(counter_await(&state.handled, 2));
}

static int32_t declines(evbus_delivery *delivery, void *user_data)
{
    evbus_error *error = NULL;
    counter_add(&((state *)user_data)->handled, 1);
    if (evbus_delivery_attempt(delivery) == 1) {
        OK(evbus_delivery_fail(delivery, EVBUS_RETRY, "BUSY", "the bank is busy", NULL, &error));
        FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_delivery_fail(delivery, EVBUS_FATAL, NULL, NULL, NULL, &error));
        return EVBUS_RETRY;
    }
    FAILS(EVBUS_ERR_ARGUMENT, evbus_delivery_fail(delivery, EVBUS_DONE, NULL, NULL, NULL, &error));
    OK(evbus_delivery_fail(delivery, EVBUS_FATAL, "DECLINED", "the card is blocked", NULL, &error));
    return EVBUS_FATAL;
}

static int32_t fine(evbus_delivery *delivery, void *user_data)
{
    (void)delivery;
    counter_add(&((state *)user_data)->go_on, 1);
    return EVBUS_DONE;
}

static int32_t hopeless(evbus_delivery *delivery, void *user_data)
{
    counter_add(&((state *)user_data)->handled, 1);
    return evbus_delivery_offset(delivery) == 0 ? EVBUS_FATAL : EVBUS_DONE;
}

static void verdicts(evbus_bus *bus)
{
    evbus_error *error = NULL;
    evbus_subscription *letters = NULL;
    evbus_subscription *pulled = NULL;
    static state declined = {COUNTER_INIT, COUNTER_INIT};
    evbus_subscription_options *options =
        OPTIONS({"retry.attempts", "9"}, {"retry.initialDelayMs", "1"}, {"deadLetterTopic", "verdicts.letters"});
    evbus_subscription_options *raw = OPTIONS({"raw", "true"});
    OK(evbus_bus_subscribe_with(bus, "verdicts", options, declines, &declined, NULL, NULL, &error));
    /* It is called once: what it did counts for the second attempt. */
    OK(evbus_bus_subscribe_with(bus, "verdicts", options, fine, &declined, NULL, NULL, &error));
    /* A bus refuses to consume its own dead letters; another one may. */
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_subscribe_pull_with(bus, "verdicts.letters", raw, &letters, &error));
    evbus_bus *reader = memory_bus("options", "letters");
    OK(evbus_bus_subscribe_pull_with(reader, "verdicts.letters", raw, &letters, &error));
    publish_number(bus, "verdicts", "a", 1);
    evbus_delivery *letter = next_of(letters);
    CHECK(bytes_are(evbus_delivery_header(letter, "dead-letter.reason"), "fatal", 5));
    CHECK(bytes_are(evbus_delivery_header(letter, "dead-letter.error-code"), "DECLINED", 8));
    CHECK(bytes_are(evbus_delivery_header(letter, "dead-letter.error-message"), "the card is blocked", 19));
    CHECK(bytes_are(evbus_delivery_header(letter, "dead-letter.attempts"), "2", 1));
    done(letter);
    CHECK(counter_get(&declined.handled) == 2 && counter_get(&declined.go_on) == 1);

    /* By polling, and what is behind a fatal failure goes on. */
    OK(evbus_bus_subscribe_pull_with(bus, "pulled", options, &pulled, &error));
    publish_number(bus, "pulled", "a", 1);
    publish_number(bus, "pulled", "a", 2);
    evbus_delivery *delivery = next_of(pulled);
    OK(evbus_delivery_fail(delivery, EVBUS_FATAL, NULL, NULL, NULL, &error));
    evbus_delivery_release(delivery);
    letter = next_of(letters);
    CHECK(bytes_are(evbus_delivery_header(letter, "dead-letter.error-code"), "EVBUS_HANDLER", 13));
    CHECK(bytes_are(evbus_delivery_header(letter, "dead-letter.reason"), "fatal", 5));
    done(letter);
    delivery = next_of(pulled);
    CHECK(str_is(evbus_delivery_payload(delivery), "{\"number\":2}"));
    done(delivery);

    /* What follows is the policy's to say: here a fatal failure is passed over. */
    static state skipping = {COUNTER_INIT, COUNTER_INIT};
    evbus_subscription_options *skip = OPTIONS({"onExhausted", "skip"});
    OK(evbus_bus_subscribe_with(bus, "skipped", skip, hopeless, &skipping, NULL, NULL, &error));
    for (int number = 0; number < 3; number++)
        publish_number(bus, "skipped", "a", number);
    CHECK(counter_await(&skipping.handled, 3));
    evbus_subscription_options_free(skip);
    evbus_subscription_options_free(options);
    evbus_subscription_options_free(raw);
    evbus_subscription_free(letters);
    evbus_subscription_free(pulled);
    close_bus(reader);
}

static void starts(evbus_bus *bus)
{
    evbus_error *error = NULL;
    evbus_subscription *subscription = NULL;
    evbus_delivery *delivery = NULL;
    evbus_subscription_options *latest = OPTIONS({"from", "latest"});
    publish_number(bus, "starts", "a", 0);
    OK(evbus_bus_subscribe_pull_with(bus, "starts", latest, &subscription, &error));
    evbus_subscription_options_free(latest);
    /* What comes before the partition is assigned may be passed over too. */
    for (int64_t end = now_ms() + DEADLINE_MS; delivery == NULL && now_ms() < end;) {
        publish_number(bus, "starts", "a", 1);
        OK(evbus_subscription_poll(subscription, 100, &delivery, &error));
    }
    CHECK(delivery != NULL && str_is(evbus_delivery_payload(delivery), "{\"number\":1}"));
    done(delivery);
    evbus_subscription_free(subscription);
}

static void refused(evbus_bus *bus)
{
    evbus_error *error = NULL;
    evbus_subscription *subscription = NULL;
    evbus_subscription_options *options = evbus_subscription_options_new();
    FAILS(EVBUS_ERR_CONFIG, evbus_subscription_options_set(options, "retry.atempts", "1", &error));
    FAILS(EVBUS_ERR_CONFIG, evbus_subscription_options_set(options, "clientId", "1", &error));
    FAILS(EVBUS_ERR_CONFIG, evbus_subscription_options_set(options, "ordering", "none", &error));
    FAILS(EVBUS_ERR_CONFIG, evbus_subscription_options_set(options, "handlerTimeoutMs", "1", &error));
    FAILS(EVBUS_ERR_CONFIG, evbus_subscription_options_set(options, "from", "-1", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_subscription_options_set(options, NULL, "1", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_subscription_options_set(NULL, "raw", "true", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_subscribe_pull_with(bus, "refused", (void *)bus, &subscription, &error));
    OK(evbus_subscription_options_set(options, "deadLetterTopic", "refused", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_subscribe_pull_with(bus, "refused", options, &subscription, &error));
    CHECK(subscription == NULL);
    evbus_subscription_options_free(options);
    evbus_subscription_options_free(NULL);
    /* NULL stands for what the bus was configured with. */
    OK(evbus_bus_subscribe_pull_with(bus, "refused", NULL, &subscription, &error));
    evbus_subscription_free(subscription);
}

int main(void)
{
    evbus_bus *bus = memory_bus("options", "options");
    records(bus);
    order_of_keys(bus);
    verdicts(bus);
    starts(bus);
    refused(bus);
    close_bus(bus);
    puts("ok");
    return 0;
}
