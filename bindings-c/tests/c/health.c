/* Probes: a bus that works, one whose partition stands still, one that is closed. */

#include "check.h"

static int32_t refuse(evbus_delivery *delivery, void *user_data)
{
    (void)delivery;
    counter_add(user_data, 1);
    return EVBUS_RETRY;
}

static int has(const evbus_bus *bus, const char *part)
{
    evbus_error *error = NULL;
    char *json = NULL;
    OK(evbus_bus_health_json(bus, &json, &error));
    int found = json != NULL && strstr(json, part) != NULL;
    evbus_string_free(json);
    return found;
}

static void await_not_live(const evbus_bus *bus)
{
    const struct timespec moment = {0, 5000000};
    int64_t until = now_ms() + DEADLINE_MS;
    while (evbus_bus_is_live(bus)) {
        CHECK(now_ms() < until);
        nanosleep(&moment, NULL);
    }
}

int main(void)
{
    evbus_error *error = NULL;
    evbus_bus *bus = NULL;
    evbus_subscription *subscription = NULL;
    counter calls = COUNTER_INIT;
    char *json = NULL;
    evbus_config *config = memory_config("health", "health");
    OK(evbus_config_set(config, "onExhausted", "halt", &error));
    OK(evbus_config_set(config, "retry.attempts", "1", &error));
    OK(evbus_config_set(config, "stallTimeoutMs", "1000", &error));
    OK(evbus_bus_connect(config, &bus, &error));
    evbus_config_free(config);

    CHECK(evbus_bus_is_live(bus));
    OK(evbus_bus_health(bus, &error));
    CHECK(has(bus, "\"live\":true,\"ready\":true,\"connected\":true,\"reasons\":[]"));

    OK(evbus_bus_subscribe(bus, "order.placed", refuse, &calls, NULL, &subscription, &error));
    publish_number(bus, "order.placed", "a", 1);
    CHECK(counter_await(&calls, 1));
    await_not_live(bus);
    int32_t code = evbus_bus_health(bus, &error);
    CHECK(code == EVBUS_ERR_UNAVAILABLE && strstr(evbus_error_message(error), "order.placed") != NULL);
    evbus_error_free(error);
    error = NULL;
    CHECK(has(bus, "\"code\":\"partition_halted\"") && has(bus, "\"haltedPartitions\":[{\"topic\":\"order.placed\""));
    CHECK(evbus_bus_is_connected(bus));

    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_health_json(NULL, &json, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_health_json(bus, NULL, &error));
    CHECK(json == NULL && !evbus_bus_is_live(NULL));

    OK(evbus_bus_close(bus, 5000, NULL, &error));
    CHECK(evbus_bus_is_live(bus) && has(bus, "\"code\":\"not_connected\""));
    FAILS(EVBUS_ERR_CLOSED, evbus_bus_health(bus, &error));
    evbus_subscription_free(subscription);
    evbus_bus_free(bus);
    puts("ok");
    return 0;
}
