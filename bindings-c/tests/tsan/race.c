/* A handler and the main thread change a number without a lock: what the search for races must find. */

#include "../c/check.h"

static int unguarded;
static counter handled = COUNTER_INIT;

static int32_t on_event(evbus_delivery *delivery, void *user_data)
{
    (void)user_data;
    unguarded += evbus_delivery_attempt(delivery);
    counter_add(&handled, 1);
    return EVBUS_DONE;
}

int main(void)
{
    evbus_error *error = NULL;
    evbus_bus *bus = memory_bus("race", "race");
    OK(evbus_bus_subscribe(bus, "race", on_event, NULL, NULL, NULL, &error));
    for (int number = 0; number < 20; number++) {
        publish_number(bus, "race", "a", number);
        unguarded += 1;
    }
    CHECK(counter_await(&handled, 20));
    close_bus(bus);
    puts("ok");
    return 0;
}
