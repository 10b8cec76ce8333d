/* What the conformance scenarios of all languages need beside their own programs:
 *
 *   tool broker TOPIC...           a broker with these topics, of 4 partitions each; lives until its input ends
 *   tool write BROKERS TOPIC       stores the records of its input, one a line: key value name=value...
 *   tool read BROKERS TOPIC        prints every record of a topic, one a line: partition offset key value name=value...
 *
 * Bytes are hexadecimal digits, "-" is Kafka's null, and words are separated by tabs. */

#include "../c/check.h"

enum { PARTITIONS = 4 };

static const char END[] = "conformance-end";

static evbus_bus *bus_on(const char *brokers, const char *group)
{
    evbus_error *error = NULL;
    evbus_bus *bus = NULL;
    evbus_config *config = evbus_config_new();
    OK(evbus_config_set(config, "brokers", brokers, &error));
    OK(evbus_config_set(config, "clientId", "conformance-tool", &error));
    OK(evbus_config_set(config, "groupId", group, &error));
    OK(evbus_config_set(config, "kafka.fetch.wait.max.ms", "10", &error));
    OK(evbus_bus_connect(config, &bus, &error));
    evbus_config_free(config);
    return bus;
}

static void broker(char **topics)
{
    evbus_error *error = NULL;
    evbus_test_broker *broker = NULL;
    OK(evbus_test_broker_start(1, &broker, &error));
    for (; *topics != NULL; topics++)
        OK(evbus_test_broker_create_topic(broker, *topics, PARTITIONS, &error));
    printf("%s\n", evbus_test_broker_bootstrap(broker));
    fflush(stdout);
    while (getchar() != EOF) {
    }
    evbus_test_broker_free(broker);
}

/* The bytes of hexadecimal digits, in place; NULL for "-". */
static const uint8_t *bytes_of(char *digits, size_t *len)
{
    *len = 0;
    if (strcmp(digits, "-") == 0)
        return NULL;
    uint8_t *bytes = (uint8_t *)digits;
    for (unsigned byte; sscanf(digits + 2 * *len, "%2x", &byte) == 1; *len += 1)
        bytes[*len] = (uint8_t)byte;
    return bytes;
}

static void store(evbus_bus *bus, evbus_event *record)
{
    evbus_error *error = NULL;
    OK(evbus_bus_publish(bus, record, -1, NULL, NULL, &error));
    evbus_event_free(record);
}

static void write_records(const char *brokers, const char *topic)
{
    static char line[4096];
    evbus_error *error = NULL;
    evbus_bus *bus = bus_on(brokers, "conformance-write");
    while (fgets(line, sizeof line, stdin) != NULL) {
        evbus_event *record = NULL;
        size_t len = 0;
        line[strcspn(line, "\n")] = '\0';
        OK(evbus_event_new_record(topic, &record, &error));
        OK(evbus_event_set_partition(record, 0, &error));
        int at = 0;
        for (char *word = strtok(line, "\t"); word != NULL; word = strtok(NULL, "\t"), at++) {
            if (at < 2) {
                const uint8_t *bytes = bytes_of(word, &len);
                OK((at == 0 ? evbus_event_set_key : evbus_event_set_value)(record, bytes, len, &error));
                continue;
            }
            char *value = strchr(word, '=');
            CHECK(value != NULL);
            *value++ = '\0';
            const uint8_t *bytes = bytes_of(value, &len);
            OK(evbus_event_add_header(record, word, bytes, len, &error));
        }
        store(bus, record);
    }
    close_bus(bus);
}

static void print_bytes(evbus_bytes bytes)
{
    if (bytes.data == NULL)
        putchar('-');
    for (size_t index = 0; index < bytes.len; index++)
        printf("%02x", bytes.data[index]);
}

static void print(const evbus_delivery *delivery)
{
    printf("%d\t%lld\t", (int)evbus_delivery_partition(delivery), (long long)evbus_delivery_offset(delivery));
    print_bytes(evbus_delivery_key(delivery));
    putchar('\t');
    print_bytes(evbus_delivery_value(delivery));
    for (size_t index = 0; index < evbus_delivery_header_count(delivery); index++) {
        evbus_str name = {NULL, 0};
        evbus_bytes value = {NULL, 0};
        CHECK(evbus_delivery_header_at(delivery, index, &name, &value, NULL) == EVBUS_OK);
        printf("\t%.*s=", (int)name.len, name.data);
        print_bytes(value);
    }
    putchar('\n');
}

/* Everything in front of a last record that it writes into each partition itself. */
static void read_records(const char *brokers, const char *topic)
{
    evbus_error *error = NULL;
    evbus_subscription *subscription = NULL;
    char group[300];
    snprintf(group, sizeof group, "conformance-read-%s", topic);
    evbus_bus *bus = bus_on(brokers, group);
    for (int partition = 0; partition < PARTITIONS; partition++) {
        evbus_event *last = NULL;
        OK(evbus_event_new_record(topic, &last, &error));
        OK(evbus_event_set_partition(last, partition, &error));
        OK(evbus_event_add_header(last, END, NULL, 0, &error));
        store(bus, last);
    }
    evbus_subscription_options *raw = evbus_subscription_options_new();
    OK(evbus_subscription_options_set(raw, "raw", "true", &error));
    OK(evbus_bus_subscribe_pull_with(bus, topic, raw, &subscription, &error));
    evbus_subscription_options_free(raw);
    for (int ended = 0; ended < PARTITIONS;) {
        evbus_delivery *delivery = NULL;
        OK(evbus_subscription_poll(subscription, DEADLINE_MS, &delivery, &error));
        CHECK(delivery != NULL);
        evbus_str name = {NULL, 0};
        int last = evbus_delivery_header_at(delivery, 0, &name, NULL, NULL) == EVBUS_OK && str_is(name, END);
        ended += last;
        if (!last)
            print(delivery);
        OK(evbus_delivery_ack(delivery, &error));
        evbus_delivery_release(delivery);
    }
    evbus_subscription_free(subscription);
    close_bus(bus);
}

int main(int argc, char **argv)
{
    CHECK(argc >= 2);
    if (strcmp(argv[1], "broker") == 0) {
        broker(argv + 2);
        return 0;
    }
    CHECK(argc == 4);
    if (strcmp(argv[1], "write") == 0) {
        write_records(argv[2], argv[3]);
    } else {
        CHECK(strcmp(argv[1], "read") == 0);
        read_records(argv[2], argv[3]);
    }
    return 0;
}
