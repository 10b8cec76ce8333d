/* Publishes events: one and waits for it, some and is called back.
 *
 *   KAFKA_BROKERS=localhost:9092 ./publish order.placed 10
 */

#include "common.h"
#include <stdatomic.h>

static atomic_int stored;
static atomic_int failed;

static void on_end(const evbus_error *error, int32_t partition, int64_t offset, void *user_data)
{
    (void)partition;
    (void)offset;
    (void)user_data;
    if (error == NULL) {
        atomic_fetch_add(&stored, 1);
        return;
    }
    atomic_fetch_add(&failed, 1);
    fprintf(stderr, "not stored: %s\n", evbus_error_report(error));
}

int main(int argc, char **argv)
{
    const char *type = argc > 1 ? argv[1] : "order.placed";
    const int count = argc > 2 ? atoi(argv[2]) : 10;
    evbus_error *error = NULL;
    evbus_bus *bus = connect_bus("example-publish");

    for (int number = 0; number < count; number++) {
        evbus_event *event = NULL;
        char aggregate[32], payload[64];
        snprintf(aggregate, sizeof aggregate, "order-%d", number % 3);
        snprintf(payload, sizeof payload, "{\"number\":%d}", number);
        must("make an event", evbus_event_new(type, aggregate, payload, &event, &error), error);
        if (number == 0) {
            int32_t partition = -1;
            int64_t offset = -1;
            must("publish", evbus_bus_publish(bus, event, -1, &partition, &offset, &error), error);
            printf("stored in partition %d at offset %lld\n", (int)partition, (long long)offset);
            atomic_fetch_add(&stored, 1);
        } else {
            must("publish", evbus_bus_publish_async(bus, event, -1, on_end, NULL, &error), error);
        }
        evbus_event_free(event);
    }
    /* Closing waits for all that is on its way. */
    close_bus(bus);
    printf("%d stored, %d failed\n", atomic_load(&stored), atomic_load(&failed));
    return atomic_load(&failed) == 0 ? 0 : 1;
}
