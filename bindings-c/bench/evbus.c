/* The benchmark through libevbus: evbus BOOTSTRAP TOPIC publish|consume EVENTS. */

#include "common.h"
#include <evbus.h>

static evbus_error *error;

static void must(const char *what, int32_t code)
{
    if (code != EVBUS_OK)
        fail(what, evbus_error_report(error));
}

static void on_end(const evbus_error *failed, int32_t partition, int64_t offset, void *user_data)
{
    (void)partition;
    (void)offset;
    (void)user_data;
    if (failed != NULL)
        fail("publish", evbus_error_report(failed));
    count_one();
}

static int32_t on_event(evbus_delivery *delivery, void *user_data)
{
    (void)user_data;
    size_t headers_size = 0, headers = evbus_delivery_header_count(delivery);
    for (size_t index = 0; index < headers; index++) {
        evbus_str name;
        evbus_bytes value;
        must("header", evbus_delivery_header_at(delivery, index, &name, &value, &error));
        headers_size += value.len;
    }
    check_record(evbus_delivery_key(delivery).len, evbus_delivery_value(delivery).len, (int)headers, headers_size);
    count_one();
    return EVBUS_DONE;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        fail("usage", "evbus BOOTSTRAP TOPIC publish|consume EVENTS");
    evbus_config *config = evbus_config_new();
    evbus_bus *bus = NULL;
    char group[64];
    wanted = atol(argv[4]);
    snprintf(group, sizeof group, "bench-%ld", (long)time(NULL));
    must("configure", evbus_config_set(config, "brokers", argv[1], &error));
    must("configure", evbus_config_set(config, "clientId", "bench", &error));
    must("configure", evbus_config_set(config, "groupId", group, &error));
    must("configure", evbus_config_set(config, "maxInFlight", IN_FLIGHT, &error));
    must("connect", evbus_bus_connect(config, &bus, &error));
    double begin = seconds(), elapsed;
    if (strcmp(argv[3], "publish") == 0) {
        evbus_event *record = NULL;
        char value[VALUE_SIZE + 1], event_id[37], key[32];
        must("record", evbus_event_new_record(argv[2], &record, &error));
        for (long number = 0; number < wanted; number++) {
            value_of(value, event_id, key, number);
            must("key", evbus_event_set_key(record, (const uint8_t *)key, strlen(key), &error));
            must("value", evbus_event_set_value(record, (const uint8_t *)value, VALUE_SIZE, &error));
            must("headers", evbus_event_clear_headers(record, &error));
            must("header", evbus_event_add_header(record, "eventId", (const uint8_t *)event_id, 36, &error));
            must("header", evbus_event_add_header(record, "version", (const uint8_t *)"1", 1, &error));
            must("header", evbus_event_add_header(record, "timestamp", (const uint8_t *)"2026-01-01T00:00:00.000Z", 24,
                                                  &error));
            must("publish", evbus_bus_publish_async(bus, record, -1, on_end, NULL, &error));
        }
        await_all();
        elapsed = seconds() - begin;
        evbus_event_free(record);
    } else {
        /* Records as they are, as plain librdkafka gives them. */
        evbus_subscription_options *options = evbus_subscription_options_new();
        must("raw", evbus_subscription_options_set(options, "raw", "true", &error));
        must("subscribe", evbus_bus_subscribe_with(bus, argv[2], options, on_event, NULL, NULL, NULL, &error));
        await_all();
        elapsed = elapsed_between();
        evbus_subscription_options_free(options);
    }
    report(wanted, elapsed);
    must("close", evbus_bus_close(bus, 10000, NULL, &error));
    evbus_bus_free(bus);
    evbus_config_free(config);
    return 0;
}
