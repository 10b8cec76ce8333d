/* Publishing: waiting, being called back, several at once; domain events and records; what may be in flight. */

#include "check.h"

typedef struct {
    counter ended;
    long failed;
    int32_t code;
} ends;

static void on_end(const evbus_error *error, int32_t partition, int64_t offset, void *user_data)
{
    ends *all = user_data;
    if (error != NULL) {
        all->failed += 1;
        all->code = evbus_error_code(error);
        CHECK(partition == -1 && offset == -1);
    } else {
        CHECK(partition >= 0 && offset >= 0);
    }
    counter_add(&all->ended, 1);
}

static void waiting(evbus_bus *bus)
{
    evbus_error *error = NULL;
    evbus_event *event = NULL;
    char *id = NULL;
    int32_t partition = -1;
    int64_t first = -1, second = -1;
    OK(evbus_event_new("waiting", "order-42", "{\"total\": 129.95}", &event, &error));
    OK(evbus_event_id(event, &id, &error));
    CHECK(strlen(id) == 36);
    evbus_string_free(id);
    OK(evbus_event_set_id(event, "event-1", &error));
    OK(evbus_event_set_version(event, 3, &error));
    OK(evbus_event_set_occurred_on(event, 1700000000123, &error));
    OK(evbus_bus_publish(bus, event, -1, &partition, &first, &error));
    OK(evbus_bus_publish(bus, event, 10000, NULL, &second, &error));
    CHECK(partition >= 0 && second == first + 1);
    evbus_event_free(event);

    evbus_subscription *subscription = NULL;
    evbus_delivery *delivery = NULL;
    int64_t occurred_on = 0;
    OK(evbus_bus_subscribe_pull(bus, "waiting", &subscription, &error));
    OK(evbus_subscription_poll(subscription, DEADLINE_MS, &delivery, &error));
    CHECK(delivery != NULL);
    CHECK(str_is(evbus_delivery_topic(delivery), "waiting"));
    CHECK(str_is(evbus_delivery_event_id(delivery), "event-1"));
    CHECK(str_is(evbus_delivery_event_type(delivery), "waiting"));
    CHECK(str_is(evbus_delivery_aggregate_id(delivery), "order-42"));
    CHECK(str_is(evbus_delivery_payload(delivery), "{\"total\": 129.95}"));
    CHECK(evbus_delivery_version(delivery) == 3 && evbus_delivery_attempt(delivery) == 1);
    CHECK(evbus_delivery_occurred_on(delivery, &occurred_on) && occurred_on == 1700000000123);
    CHECK(evbus_delivery_partition(delivery) == partition && evbus_delivery_offset(delivery) == first);
    CHECK(evbus_delivery_timestamp(delivery) > 0);
    CHECK(bytes_are(evbus_delivery_key(delivery), "order-42", 8));
    CHECK(bytes_are(evbus_delivery_header(delivery, "version"), "3", 1));
    CHECK(evbus_delivery_header_count(delivery) == 3);
    CHECK(evbus_delivery_header(delivery, "none").data == NULL);
    const char *value = "{\"eventId\":\"event-1\",\"eventType\":\"waiting\",\"occurredOn\":\"2023-11-14T22:13:20.123Z\","
                        "\"aggregateId\":\"order-42\",\"version\":3,\"payload\":{\"total\": 129.95}}";
    CHECK(bytes_are(evbus_delivery_value(delivery), value, strlen(value)));
    OK(evbus_delivery_ack(delivery, &error));
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_delivery_ack(delivery, &error));
    evbus_delivery_release(delivery);
    OK(evbus_subscription_unsubscribe(subscription, -1, &error));
    evbus_subscription_free(subscription);
}

/* A record as it is, with headers that repeat and bytes that are no text. Its value is an event, so that it is handed out. */
static void records(evbus_bus *bus)
{
    evbus_error *error = NULL;
    evbus_event *record = NULL;
    const uint8_t binary[] = {0, 255, 1, 254};
    const char *value = "{\"eventId\":\"1\",\"eventType\":\"records\",\"aggregateId\":\"a\",\"more\":[1,2]}";
    int32_t partition = -1;
    OK(evbus_event_new_record("records", &record, &error));
    OK(evbus_event_set_key(record, binary, sizeof binary, &error));
    OK(evbus_event_set_value(record, (const uint8_t *)value, strlen(value), &error));
    OK(evbus_event_add_header(record, "dropped", NULL, 0, &error));
    OK(evbus_event_clear_headers(record, &error));
    OK(evbus_event_add_header(record, "twice", (const uint8_t *)"1", 1, &error));
    OK(evbus_event_add_header(record, "null", NULL, 0, &error));
    OK(evbus_event_add_header(record, "twice", binary, sizeof binary, &error));
    OK(evbus_event_add_header(record, "empty", binary, 0, &error));
    OK(evbus_event_set_partition(record, 2, &error));
    OK(evbus_event_set_timestamp(record, 1700000000000, &error));
    OK(evbus_bus_publish(bus, record, -1, &partition, NULL, &error));
    CHECK(partition == 2);
    evbus_event_free(record);

    evbus_subscription *subscription = NULL;
    evbus_delivery *delivery = NULL;
    OK(evbus_bus_subscribe_pull(bus, "records", &subscription, &error));
    OK(evbus_subscription_poll(subscription, DEADLINE_MS, &delivery, &error));
    CHECK(delivery != NULL);
    CHECK(bytes_are(evbus_delivery_key(delivery), binary, sizeof binary));
    CHECK(bytes_are(evbus_delivery_value(delivery), value, strlen(value)));
    CHECK(evbus_delivery_timestamp(delivery) == 1700000000000);
    CHECK(str_is(evbus_delivery_payload(delivery), "null"));
    CHECK(!evbus_delivery_occurred_on(delivery, NULL));
    CHECK(evbus_delivery_header_count(delivery) == 4);
    static const char *const names[] = {"twice", "null", "twice", "empty"};
    evbus_str name = {NULL, 0};
    evbus_bytes bytes[4];
    for (size_t index = 0; index < 4; index++) {
        OK(evbus_delivery_header_at(delivery, index, &name, &bytes[index], &error));
        CHECK(str_is(name, names[index]));
    }
    CHECK(bytes_are(bytes[0], "1", 1) && bytes[1].data == NULL && bytes_are(bytes[2], binary, sizeof binary));
    CHECK(bytes[3].data != NULL && bytes[3].len == 0);
    CHECK(bytes_are(evbus_delivery_header(delivery, "twice"), binary, sizeof binary));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_delivery_header_at(delivery, 4, &name, NULL, &error));
    OK(evbus_delivery_ack(delivery, &error));
    evbus_delivery_release(delivery);
    OK(evbus_subscription_unsubscribe(subscription, -1, &error));
    evbus_subscription_free(subscription);
}

static void called_back(evbus_bus *bus)
{
    enum { COUNT = 5000 };
    evbus_error *error = NULL;
    evbus_event *event = NULL;
    ends all = {COUNTER_INIT, 0, EVBUS_OK};
    OK(evbus_event_new("called", "a", "{}", &event, &error));
    for (int index = 0; index < COUNT; index++)
        OK(evbus_bus_publish_async(bus, event, -1, on_end, &all, &error));
    evbus_event_free(event);
    CHECK(counter_await(&all.ended, COUNT) && all.failed == 0);

    OK(evbus_event_new("no topic", "a", "{}", &event, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_publish_async(bus, event, -1, on_end, &all, &error));
    evbus_event_free(event);
    CHECK(counter_get(&all.ended) == COUNT);
}

static void batches(evbus_bus *bus)
{
    enum { COUNT = 300 };
    evbus_error *error = NULL;
    evbus_event *events[COUNT];
    evbus_publish_results *results = NULL;
    for (int index = 0; index < COUNT; index++) {
        char aggregate[32];
        snprintf(aggregate, sizeof aggregate, "a-%d", index % 7);
        OK(evbus_event_new("batches", index == 9 ? "" : aggregate, "{}", &events[index], &error));
    }
    const evbus_event *const *all = (const evbus_event *const *)events;
    OK(evbus_bus_publish_batch(bus, all, 9, -1, &results, &error));
    CHECK(evbus_publish_results_count(results) == 9);
    for (size_t index = 0; index < 9; index++) {
        CHECK(evbus_publish_results_code(results, index) == EVBUS_OK);
        CHECK(evbus_publish_results_error(results, index) == NULL);
        CHECK(evbus_publish_results_partition(results, index) >= 0 && evbus_publish_results_offset(results, index) >= 0);
    }
    CHECK(evbus_publish_results_code(results, 9) == EVBUS_ERR_ARGUMENT);
    evbus_publish_results_free(results);
    results = NULL;
    int32_t code = evbus_bus_publish_batch(bus, all, COUNT, -1, &results, &error);
    CHECK(code == EVBUS_ERR_ARGUMENT && strstr(evbus_error_report(error), "1 of 300") != NULL);
    evbus_error_free(error);
    error = NULL;
    CHECK(evbus_publish_results_code(results, 9) == EVBUS_ERR_ARGUMENT);
    CHECK(evbus_error_outcome(evbus_publish_results_error(results, 9)) == EVBUS_OUTCOME_NOT_SENT);
    CHECK(evbus_publish_results_offset(results, 9) == -1 && evbus_publish_results_code(results, 10) == EVBUS_OK);
    evbus_publish_results_free(results);
    OK(evbus_bus_publish_batch(bus, NULL, 0, -1, NULL, &error));
    const evbus_event *holes[] = {events[0], NULL};
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_publish_batch(bus, holes, 2, -1, NULL, &error));
    for (int index = 0; index < COUNT; index++)
        evbus_event_free(events[index]);
}

/* A broker that answers late: there is room for four, the fifth is told so, and a call that waits is late. */
static void room(void)
{
    evbus_error *error = NULL;
    evbus_test_broker *broker = NULL;
    evbus_bus *bus = NULL;
    evbus_event *event = NULL;
    ends all = {COUNTER_INIT, 0, EVBUS_OK};
    OK(evbus_test_broker_start(1, &broker, &error));
    OK(evbus_test_broker_create_topic(broker, "room", 1, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_test_broker_create_topic(broker, "room", 1, &error));
    evbus_config *config = evbus_config_new();
    OK(evbus_config_set(config, "brokers", evbus_test_broker_bootstrap(broker), &error));
    OK(evbus_config_set(config, "clientId", "tests", &error));
    OK(evbus_config_set(config, "maxInFlight", "4", &error));
    OK(evbus_bus_connect(config, &bus, &error));
    evbus_config_free(config);
    OK(evbus_event_new("room", "a", "{}", &event, &error));
    OK(evbus_bus_publish(bus, event, -1, NULL, NULL, &error));
    OK(evbus_test_broker_set_round_trip(broker, 1, 800, &error));
    for (int index = 0; index < 4; index++)
        OK(evbus_bus_publish_async(bus, event, 0, on_end, &all, &error));
    int32_t code = evbus_bus_publish_async(bus, event, 0, on_end, &all, &error);
    CHECK(code == EVBUS_ERR_QUEUE_FULL && evbus_error_retryable(error));
    CHECK(evbus_error_outcome(error) == EVBUS_OUTCOME_NOT_SENT);
    evbus_error_free(error);
    error = NULL;
    /* It waits for the room that the first answer makes. */
    OK(evbus_bus_publish_async(bus, event, -1, on_end, &all, &error));
    code = evbus_bus_publish(bus, event, 200, NULL, NULL, &error);
    CHECK(code == EVBUS_ERR_TIMEOUT || code == EVBUS_ERR_QUEUE_FULL);
    CHECK(code != EVBUS_ERR_TIMEOUT || evbus_error_outcome(error) == EVBUS_OUTCOME_UNKNOWN);
    evbus_error_free(error);
    error = NULL;
    CHECK(counter_await(&all.ended, 5) && all.failed == 0);
    OK(evbus_test_broker_set_round_trip(broker, 1, 0, &error));
    evbus_event_free(event);
    close_bus(bus);
    evbus_test_broker_free(broker);
}

/* What cannot be stored before the bus is closed has its completion before close returns. */
static void outage(void)
{
    evbus_error *error = NULL;
    evbus_test_broker *broker = NULL;
    evbus_bus *bus = NULL;
    evbus_event *event = NULL;
    evbus_close_report *report = NULL;
    ends all = {COUNTER_INIT, 0, EVBUS_OK};
    OK(evbus_test_broker_start(1, &broker, &error));
    OK(evbus_test_broker_create_topic(broker, "outage", 1, &error));
    evbus_config *config = evbus_config_new();
    OK(evbus_config_set(config, "brokers", evbus_test_broker_bootstrap(broker), &error));
    OK(evbus_config_set(config, "clientId", "tests", &error));
    OK(evbus_bus_connect(config, &bus, &error));
    evbus_config_free(config);
    OK(evbus_event_new("outage", "a", "{}", &event, &error));
    OK(evbus_bus_publish(bus, event, -1, NULL, NULL, &error));
    OK(evbus_test_broker_set_up(broker, 1, false, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_test_broker_set_up(broker, 7, false, &error));
    for (int index = 0; index < 10; index++)
        OK(evbus_bus_publish_async(bus, event, 0, on_end, &all, &error));
    int64_t begin = now_ms();
    OK(evbus_bus_close(bus, 1000, &report, &error));
    CHECK(now_ms() - begin < 3000);
    CHECK(counter_get(&all.ended) == 10 && all.failed == 10);
    CHECK(evbus_close_report_lost(report) == 10 && !evbus_close_report_clean(report));
    evbus_close_report_free(report);
    evbus_event_free(event);
    evbus_bus_free(bus);
    evbus_test_broker_free(broker);
}

static void metrics(evbus_bus *bus)
{
    evbus_error *error = NULL;
    char *text = NULL;
    OK(evbus_bus_metrics(bus, &text, &error));
    CHECK(strstr(text, "# TYPE evbus_publish_acknowledged_total counter\n") != NULL);
    CHECK(strstr(text, "evbus_publish_acknowledged_total 0\n") == NULL);
    CHECK(strstr(text, "evbus_connected 1\n") != NULL);
    evbus_string_free(text);
}

int main(void)
{
    evbus_bus *bus = memory_bus("publish", "publish");
    waiting(bus);
    records(bus);
    called_back(bus);
    batches(bus);
    metrics(bus);
    close_bus(bus);
    room();
    outage();
    puts("ok");
    return 0;
}
