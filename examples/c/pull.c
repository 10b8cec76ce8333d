/* Handles events in an event loop of its own, which waits on a descriptor beside others.
 *
 *   KAFKA_BROKERS=localhost:9092 KAFKA_GROUP_ID=billing ./pull order.placed 10
 */

#include "common.h"
#include <poll.h>

int main(int argc, char **argv)
{
    const char *type = argc > 1 ? argv[1] : "order.placed";
    int left = argc > 2 ? atoi(argv[2]) : 10;
    evbus_error *error = NULL;
    evbus_subscription *subscription = NULL;
    int32_t fd = -1;
    evbus_bus *bus = connect_bus("example-pull");

    must("subscribe", evbus_bus_subscribe_pull(bus, type, &subscription, &error), error);
    must("get the descriptor", evbus_subscription_fd(subscription, &fd, &error), error);
    while (left > 0) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN, .revents = 0};
        if (poll(&waiting, 1, -1) < 0)
            continue;
        evbus_delivery *delivery = NULL;
        must("poll", evbus_subscription_poll(subscription, 0, &delivery, &error), error);
        if (delivery == NULL)
            continue;
        evbus_str payload = evbus_delivery_payload(delivery);
        printf("%.*s\n", (int)payload.len, payload.data);
        must("acknowledge", evbus_delivery_ack(delivery, &error), error);
        evbus_delivery_release(delivery);
        left -= 1;
    }
    evbus_subscription_free(subscription);
    close_bus(bus);
    return 0;
}
