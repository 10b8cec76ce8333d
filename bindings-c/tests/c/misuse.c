/* NULL, text that is not UTF-8, objects of another type, calls in the wrong order: an error each, and no crash. */

#include "check.h"

static void nulls(void)
{
    evbus_error *error = NULL;
    evbus_config *config = evbus_config_new();
    evbus_bus *bus = NULL;
    evbus_event *event = NULL;
    FAILS(EVBUS_ERR_ARGUMENT, evbus_config_set(NULL, "clientId", "x", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_config_set(config, NULL, "x", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_config_set(config, "clientId", NULL, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_config_set_log(config, 7, NULL, NULL, NULL, &error));
    FAILS(EVBUS_ERR_CONFIG, evbus_config_set_callback_threads(config, 0, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_connect(NULL, &bus, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_connect(config, NULL, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_publish(NULL, NULL, 0, NULL, NULL, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_close(NULL, 0, NULL, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_event_new(NULL, "a", "{}", &event, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_event_new("t", "a", "{}", NULL, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_subscription_poll(NULL, 0, NULL, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_delivery_ack(NULL, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_test_broker_start(0, NULL, &error));
    /* Without a place for the error the code is there all the same. */
    CHECK(evbus_config_set(NULL, NULL, NULL, NULL) == EVBUS_ERR_ARGUMENT);
    CHECK(bus == NULL && event == NULL);
    evbus_config_free(config);
    evbus_config_free(NULL);
    evbus_bus_free(NULL);
    evbus_event_free(NULL);
    evbus_error_free(NULL);
    evbus_subscription_free(NULL);
    evbus_delivery_release(NULL);
    evbus_publish_results_free(NULL);
    evbus_close_report_free(NULL);
    evbus_test_broker_free(NULL);
    evbus_string_free(NULL);
}

static void texts(void)
{
    evbus_error *error = NULL;
    evbus_event *event = NULL;
    evbus_config *config = evbus_config_new();
    FAILS(EVBUS_ERR_ARGUMENT, evbus_event_new("\xff\xfe", "a", "{}", &event, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_config_set(config, "clientId", "caf\xe9", &error));
    FAILS(EVBUS_ERR_CODEC, evbus_event_new("t", "a", "{not json", &event, &error));
    int32_t code = evbus_config_set(config, "cleintId", "x", &error);
    CHECK(code == EVBUS_ERR_CONFIG && strstr(evbus_error_report(error), "clientId") != NULL);
    CHECK(!evbus_error_retryable(error) && !evbus_error_fatal(error));
    CHECK(evbus_error_outcome(error) == EVBUS_OUTCOME_NONE && evbus_error_kafka_code(error) == 0);
    evbus_error_free(error);
    error = NULL;
    evbus_config_free(config);
}

static void strangers(void)
{
    evbus_error *error = NULL;
    evbus_config *config = evbus_config_new();
    evbus_event *event = NULL;
    evbus_bus *bus = NULL;
    OK(evbus_event_new("t", "a", "{}", &event, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_connect((const evbus_config *)(const void *)event, &bus, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_close((const evbus_bus *)(const void *)config, 0, NULL, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_config_set((evbus_config *)(void *)event, "clientId", "x", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_delivery_ack((evbus_delivery *)(void *)event, &error));
    CHECK(evbus_delivery_partition((const evbus_delivery *)(const void *)event) == -1);
    CHECK(evbus_error_code((const evbus_error *)(const void *)event) == EVBUS_OK);
    /* What is not of that type is left alone. */
    evbus_bus_free((evbus_bus *)(void *)event);
    evbus_event_free((evbus_event *)(void *)config);
    OK(evbus_event_set_version(event, 2, &error));
    evbus_event_free(event);
    evbus_config_free(config);
}

static void order(void)
{
    evbus_error *error = NULL;
    evbus_config *config = memory_config("misuse", NULL);
    evbus_bus *bus = NULL;
    evbus_event *event = NULL, *record = NULL;
    evbus_subscription *subscription = NULL;
    evbus_delivery *delivery = NULL;
    int fd = -1;
    OK(evbus_bus_connect(config, &bus, &error));
    FAILS(EVBUS_ERR_CONFIG, evbus_bus_subscribe_pull(bus, "order.placed", &subscription, &error));
    close_bus(bus);
    OK(evbus_config_set(config, "groupId", "misuse", &error));
    bus = NULL;
    OK(evbus_bus_connect(config, &bus, &error));
    evbus_config_free(config);
    OK(evbus_bus_health(bus, &error));
    CHECK(evbus_bus_is_connected(bus));

    OK(evbus_event_new("order.placed", "a", "{}", &event, &error));
    OK(evbus_event_new_record("order.placed", &record, &error));
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_event_set_key(event, (const uint8_t *)"k", 1, &error));
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_event_add_header(event, "n", NULL, 0, &error));
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_event_set_id(record, "x", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_event_set_partition(record, -2, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_event_set_value(record, NULL, 3, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_subscribe(bus, "t", NULL, NULL, NULL, NULL, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_subscribe_pull(bus, "no topic", &subscription, &error));

    /* An event without an aggregate is refused when it is published, and was certainly not sent. */
    evbus_event_free(event);
    OK(evbus_event_new("order.placed", "", "{}", &event, &error));
    int32_t code = evbus_bus_publish(bus, event, -1, NULL, NULL, &error);
    CHECK(code == EVBUS_ERR_ARGUMENT && evbus_error_outcome(error) == EVBUS_OUTCOME_NOT_SENT);
    evbus_error_free(error);
    error = NULL;

    OK(evbus_bus_subscribe_pull(bus, "order.placed", &subscription, &error));
    OK(evbus_subscription_fd(subscription, &fd, &error));
    CHECK(fd >= 0);
    OK(evbus_subscription_unsubscribe(subscription, 1000, &error));
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_subscription_unsubscribe(subscription, 1000, &error));
    FAILS(EVBUS_ERR_CLOSED, evbus_subscription_poll(subscription, 0, &delivery, &error));
    CHECK(delivery == NULL);

    OK(evbus_bus_close(bus, 5000, NULL, &error));
    OK(evbus_bus_close(bus, 5000, NULL, &error));
    FAILS(EVBUS_ERR_CLOSED, evbus_bus_publish(bus, record, -1, NULL, NULL, &error));
    FAILS(EVBUS_ERR_CLOSED, evbus_bus_publish_async(bus, record, -1, NULL, NULL, &error));
    evbus_subscription *late = NULL;
    FAILS(EVBUS_ERR_CLOSED, evbus_bus_subscribe_pull(bus, "order.placed", &late, &error));
    FAILS(EVBUS_ERR_CLOSED, evbus_bus_health(bus, &error));
    CHECK(!evbus_bus_is_connected(bus));
    evbus_bus_free(bus);
    FAILS(EVBUS_ERR_CLOSED, evbus_subscription_unsubscribe(subscription, 0, &error));
    evbus_subscription_free(subscription);
    evbus_event_free(event);
    evbus_event_free(record);
}

int main(void)
{
    nulls();
    texts();
    strangers();
    order();
    puts("ok");
    return 0;
}
