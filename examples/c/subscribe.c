/* Handles events in a callback until it has seen enough.
 *
 *   KAFKA_BROKERS=localhost:9092 KAFKA_GROUP_ID=billing ./subscribe order.placed 10
 */

#include "common.h"
#include <pthread.h>

struct progress {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int left;
};

/* Runs on a thread of the library, so it may block; events of one partition come one after the other. */
static int32_t on_event(evbus_delivery *delivery, void *user_data)
{
    struct progress *progress = user_data;
    evbus_str aggregate = evbus_delivery_aggregate_id(delivery);
    evbus_str payload = evbus_delivery_payload(delivery);
    printf("%.*s %.*s\n", (int)aggregate.len, aggregate.data, (int)payload.len, payload.data);
    pthread_mutex_lock(&progress->mutex);
    progress->left -= 1;
    pthread_cond_signal(&progress->changed);
    pthread_mutex_unlock(&progress->mutex);
    return EVBUS_DONE;
}

int main(int argc, char **argv)
{
    const char *type = argc > 1 ? argv[1] : "order.placed";
    struct progress progress = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, argc > 2 ? atoi(argv[2]) : 10};
    evbus_error *error = NULL;
    evbus_bus *bus = connect_bus("example-subscribe");

    must("subscribe", evbus_bus_subscribe(bus, type, on_event, &progress, NULL, NULL, &error), error);
    pthread_mutex_lock(&progress.mutex);
    while (progress.left > 0)
        pthread_cond_wait(&progress.changed, &progress.mutex);
    pthread_mutex_unlock(&progress.mutex);
    close_bus(bus);
    return 0;
}
