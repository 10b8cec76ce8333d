/* Reading a partition again, or past some of it. */

#include "check.h"

#define TYPE "order.placed"

enum { EVENTS = 4, MOST = 64 };

typedef struct {
    counter handled;
    evbus_bus *bus;
    int32_t partition;
    /* Of each handled event, in order; written by one handler at a time. */
    int64_t offsets[MOST];
    int64_t timestamps[MOST];
    /* From inside the handler of the event with this offset, once. */
    int64_t seeks_at;
} state;

static int32_t take(evbus_delivery *delivery, void *user_data)
{
    state *seen = user_data;
    evbus_error *error = NULL;
    long number = counter_get(&seen->handled);
    hand_over();
    CHECK(number < MOST);
    seen->offsets[number] = evbus_delivery_offset(delivery);
    seen->timestamps[number] = evbus_delivery_timestamp(delivery);
    int seeks = seen->seeks_at == seen->offsets[number];
    if (seeks)
        seen->seeks_at = -1;
    counter_add(&seen->handled, 1);
    /* Last, because what comes then may overlap with this call. */
    if (seeks)
        OK(evbus_bus_seek(seen->bus, TYPE, seen->partition, 0, &error));
    return EVBUS_DONE;
}

static void on_end(const evbus_error *failed, int32_t partition, int64_t offset, void *user_data)
{
    state *seen = user_data;
    evbus_error *error = NULL;
    hand_over();
    CHECK(failed == NULL && offset >= 0);
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_bus_seek(seen->bus, TYPE, partition, 0, &error));
    counter_add(&seen->handled, 1);
}

/* All of one aggregate, so all in one partition. */
static int32_t publish_one(evbus_bus *bus)
{
    evbus_error *error = NULL;
    evbus_event *event = NULL;
    int32_t partition = -1;
    OK(evbus_event_new(TYPE, "order-1", "{}", &event, &error));
    OK(evbus_bus_publish(bus, event, -1, &partition, NULL, &error));
    evbus_event_free(event);
    return partition;
}

/* The events behind the first `before` are those from `first` to the newest. */
static void expect(state *seen, int before, int64_t first, int count)
{
    CHECK(counter_await(&seen->handled, before + count));
    for (int number = 0; number < count; number++)
        CHECK(seen->offsets[before + number] == first + number);
}

int main(void)
{
    evbus_error *error = NULL;
    evbus_event *event = NULL;
    static state seen = {.handled = COUNTER_INIT, .seeks_at = -1}, ended = {.handled = COUNTER_INIT};
    evbus_bus *bus = seen.bus = ended.bus = memory_bus("seek", "seek");
    for (int number = 0; number < EVENTS; number++)
        seen.partition = publish_one(bus);
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_bus_seek(bus, TYPE, seen.partition, 0, &error));
    hand_over();
    OK(evbus_bus_subscribe(bus, TYPE, take, &seen, NULL, NULL, &error));
    expect(&seen, 0, 0, 4);

    OK(evbus_bus_seek(bus, TYPE, seen.partition, EVBUS_OFFSET_BEGINNING, &error));
    expect(&seen, 4, 0, 4);
    OK(evbus_bus_seek(bus, TYPE, seen.partition, 2, &error));
    expect(&seen, 8, 2, 2);
    OK(evbus_bus_seek_to_timestamp(bus, TYPE, seen.partition, seen.timestamps[0], &error));
    expect(&seen, 10, 0, 4);
    OK(evbus_bus_seek(bus, TYPE, seen.partition, EVBUS_OFFSET_END, &error));
    seen.seeks_at = EVENTS;
    hand_over();
    publish_one(bus);
    expect(&seen, 14, 4, 1);
    /* What the handler asked for. */
    expect(&seen, 15, 0, 5);

    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_seek(bus, TYPE, seen.partition, -3, &error));
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_bus_seek(bus, TYPE, 1000, 0, &error));
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_bus_seek(bus, "nobody.listens", 0, 0, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_seek(bus, NULL, 0, 0, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_seek(NULL, TYPE, 0, 0, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_seek_to_timestamp(NULL, TYPE, 0, 0, &error));

    OK(evbus_event_new("nobody.listens", "order-1", "{}", &event, &error));
    hand_over();
    OK(evbus_bus_publish_async(bus, event, -1, on_end, &ended, &error));
    evbus_event_free(event);
    CHECK(counter_await(&ended.handled, 1));

    OK(evbus_bus_close(bus, 10000, NULL, &error));
    FAILS(EVBUS_ERR_CLOSED, evbus_bus_seek(bus, TYPE, seen.partition, 0, &error));
    evbus_bus_free(bus);
    puts("ok");
    return 0;
}
