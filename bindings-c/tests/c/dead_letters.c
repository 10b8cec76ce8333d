/* Dead letters: what is known of them, which are meant, and sending them back. */

#include "check.h"

enum { LETTERS = 5 };

static const char TYPE[] = "orders";

typedef struct {
    counter handled;
    counter replayed;
} state;

/* Nothing can be handled but what comes again. */
static int32_t refuses(evbus_delivery *delivery, void *user_data)
{
    evbus_error *error = NULL;
    state *state = user_data;
    evbus_bytes replay = evbus_delivery_header(delivery, "dead-letter.replay-id");
    if (replay.data != NULL) {
        counter_add(&state->replayed, 1);
        return EVBUS_DONE;
    }
    counter_add(&state->handled, 1);
    if (bytes_are(evbus_delivery_key(delivery), "a", 1))
        OK(evbus_delivery_fail(delivery, EVBUS_FATAL, "NO_STOCK", "the shelf is empty", NULL, &error));
    return EVBUS_DEAD_LETTER;
}

static int field_is(const evbus_dead_letters *letters, size_t index, const char *name, const char *expected)
{
    const char *found = evbus_dead_letters_field(letters, index, name);
    return found != NULL && strcmp(found, expected) == 0;
}

static evbus_dead_letter_options *options_of(const char *key, const char *value)
{
    evbus_error *error = NULL;
    evbus_dead_letter_options *options = evbus_dead_letter_options_new();
    CHECK(options != NULL);
    OK(evbus_dead_letter_options_set(options, key, value, &error));
    return options;
}

static evbus_dead_letters *list(evbus_bus *bus, const evbus_dead_letter_options *options)
{
    evbus_error *error = NULL;
    evbus_dead_letters *letters = NULL;
    OK(evbus_bus_dead_letters(bus, TYPE, options, &letters, &error));
    return letters;
}

static void await_letters(evbus_bus *bus)
{
    evbus_error *error = NULL;
    evbus_dead_letters *letters = NULL;
    size_t found = 0;
    for (int64_t end = now_ms() + DEADLINE_MS; found < LETTERS && now_ms() < end;) {
        int32_t code = evbus_bus_dead_letters(bus, TYPE, NULL, &letters, &error);
        CHECK(code == EVBUS_OK || code == EVBUS_ERR_UNKNOWN_TOPIC);
        found = evbus_dead_letters_count(letters);
        evbus_dead_letters_free(letters);
        evbus_error_free(error);
        letters = NULL;
        error = NULL;
    }
    CHECK(found == LETTERS);
}

static void looking(evbus_bus *bus)
{
    evbus_error *error = NULL;
    evbus_dead_letters *letters = list(bus, NULL);
    CHECK(evbus_dead_letters_count(letters) == LETTERS);
    CHECK(field_is(letters, 0, "reason", "fatal") && field_is(letters, 0, "errorCode", "NO_STOCK"));
    CHECK(field_is(letters, 0, "errorMessage", "the shelf is empty") && field_is(letters, 0, "attempts", "1"));
    CHECK(field_is(letters, 0, "sourceTopic", TYPE) && field_is(letters, 0, "replays", "0"));
    CHECK(field_is(letters, 0, "group", "letters") && evbus_dead_letters_field(letters, 0, "eventId") != NULL);
    CHECK(evbus_dead_letters_field(letters, 0, "reduced") == NULL);
    CHECK(evbus_dead_letters_field(letters, 0, "nonsense") == NULL);
    CHECK(evbus_dead_letters_field(letters, LETTERS, "reason") == NULL);
    CHECK(evbus_dead_letters_value(letters, 0).data == NULL);
    CHECK(bytes_are(evbus_dead_letters_key(letters, 0), "a", 1));
    char partition[16], offset[32];
    snprintf(partition, sizeof partition, "%d", (int)evbus_dead_letters_partition(letters, 0));
    snprintf(offset, sizeof offset, "%lld", (long long)evbus_dead_letters_offset(letters, 0));
    CHECK(field_is(letters, 0, "partition", partition) && field_is(letters, 0, "offset", offset));
    evbus_dead_letters_free(letters);

    /* One letter has its record. */
    evbus_dead_letter_options *place = options_of("partition", partition);
    OK(evbus_dead_letter_options_set(place, "offset", offset, &error));
    letters = list(bus, place);
    CHECK(evbus_dead_letters_count(letters) == 1 && evbus_dead_letters_value(letters, 0).data != NULL);
    evbus_str name = {NULL, 0};
    evbus_bytes value = {NULL, 0};
    CHECK(evbus_dead_letters_header(letters, 0, 1, &name, &value) && str_is(name, "version"));
    CHECK(bytes_are(value, "1", 1) && !evbus_dead_letters_header(letters, 0, 3, &name, &value));
    evbus_dead_letters_free(letters);
    OK(evbus_dead_letter_options_set(place, "offset", "1000000", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_dead_letters(bus, TYPE, place, &letters, &error));
    evbus_dead_letter_options_free(place);

    evbus_dead_letter_options *filter = options_of("reason", "requested, invalid");
    letters = list(bus, filter);
    CHECK(evbus_dead_letters_count(letters) == LETTERS - 1 && field_is(letters, 0, "reason", "requested"));
    evbus_dead_letters_free(letters);
    OK(evbus_dead_letter_options_set(filter, "limit", "2", &error));
    letters = list(bus, filter);
    CHECK(evbus_dead_letters_count(letters) == 2);
    evbus_dead_letters_free(letters);
    OK(evbus_dead_letter_options_set_key(filter, (const uint8_t *)"a", 1, &error));
    letters = list(bus, filter);
    CHECK(evbus_dead_letters_count(letters) == 0);
    evbus_dead_letters_free(letters);
    OK(evbus_dead_letter_options_set_key(filter, NULL, 0, &error));
    OK(evbus_dead_letter_options_set(filter, "until", "1000", &error));
    letters = list(bus, filter);
    CHECK(evbus_dead_letters_count(letters) == 0);
    evbus_dead_letters_free(letters);
    evbus_dead_letter_options_free(filter);
}

static evbus_replay_report *replay(evbus_bus *bus, const evbus_dead_letter_options *options)
{
    evbus_error *error = NULL;
    evbus_replay_report *report = NULL;
    OK(evbus_bus_replay_dead_letters(bus, TYPE, options, &report, &error));
    return report;
}

static void replaying(evbus_bus *bus, state *state)
{
    evbus_error *error = NULL;
    evbus_dead_letter_options *options = options_of("dryRun", "true");
    evbus_replay_report *report = replay(bus, options);
    CHECK(evbus_replay_report_replayed(report) == LETTERS && evbus_replay_report_skipped(report) == 0);
    CHECK(evbus_replay_report_complete(report));
    CHECK(strstr(evbus_replay_report_json(report), "\"dryRun\":true") != NULL);
    evbus_replay_report_free(report);
    CHECK(counter_get(&state->replayed) == 0);

    OK(evbus_dead_letter_options_set(options, "dryRun", "false", &error));
    OK(evbus_dead_letter_options_set(options, "limit", "2", &error));
    OK(evbus_dead_letter_options_set(options, "ratePerSecond", "1000", &error));
    report = replay(bus, options);
    CHECK(evbus_replay_report_replayed(report) == 2 && !evbus_replay_report_complete(report));
    evbus_replay_report_free(report);
    /* It goes on where it ended. */
    report = replay(bus, NULL);
    CHECK(evbus_replay_report_replayed(report) == LETTERS - 2 && evbus_replay_report_complete(report));
    evbus_replay_report_free(report);
    CHECK(counter_await(&state->replayed, LETTERS) && counter_get(&state->handled) == LETTERS);
    OK(evbus_bus_replay_dead_letters(bus, TYPE, NULL, NULL, &error));

    OK(evbus_dead_letter_options_set(options, "reason", "fatal", &error));
    OK(evbus_dead_letter_options_set(options, "maxReplays", "0", &error));
    report = replay(bus, options);
    CHECK(evbus_replay_report_replayed(report) == 0 && evbus_replay_report_skipped(report) == 1);
    CHECK(strstr(evbus_replay_report_json(report), "\"why\":\"max-replays\"") != NULL);
    evbus_replay_report_free(report);
    evbus_dead_letter_options_free(options);
}

static void refused(evbus_bus *bus)
{
    evbus_error *error = NULL;
    evbus_dead_letters *letters = NULL;
    evbus_dead_letter_options *options = options_of("offset", "0");
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_dead_letters(bus, TYPE, options, &letters, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_dead_letter_options_set(options, "resaon", "fatal", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_dead_letter_options_set(options, "reason", "bored", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_dead_letter_options_set(options, "limit", "-1", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_dead_letter_options_set(options, "dryRun", "1", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_dead_letter_options_set_key(options, NULL, 1, &error));
    OK(evbus_dead_letter_options_set(options, "partition", "0", &error));
    OK(evbus_dead_letter_options_set(options, "ratePerSecond", "-1", &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_replay_dead_letters(bus, TYPE, options, NULL, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_dead_letters(bus, TYPE, options, &letters, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_dead_letters(bus, "no topic", NULL, &letters, &error));
    FAILS(EVBUS_ERR_UNKNOWN_TOPIC, evbus_bus_dead_letters(bus, "nothing.failed", NULL, &letters, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_dead_letters(bus, TYPE, NULL, NULL, &error));
    FAILS(EVBUS_ERR_ARGUMENT, evbus_bus_dead_letters(NULL, TYPE, NULL, &letters, &error));
    evbus_dead_letter_options_free(options);
    /* Letters may lie elsewhere. */
    options = options_of("deadLetterTopic", "elsewhere");
    FAILS(EVBUS_ERR_UNKNOWN_TOPIC, evbus_bus_dead_letters(bus, TYPE, options, &letters, &error));
    evbus_dead_letter_options_free(options);
    CHECK(letters == NULL);
}

int main(void)
{
    evbus_error *error = NULL;
    static state state = {COUNTER_INIT, COUNTER_INIT};
    evbus_bus *bus = memory_bus("letters", "letters");
    OK(evbus_bus_subscribe(bus, TYPE, refuses, &state, NULL, NULL, &error));
    publish_number(bus, TYPE, "a", 0);
    CHECK(counter_await(&state.handled, 1));
    for (int number = 1; number < LETTERS; number++)
        publish_number(bus, TYPE, "b", number);
    await_letters(bus);
    looking(bus);
    replaying(bus, &state);
    refused(bus);
    evbus_dead_letters *letters = NULL;
    OK(evbus_bus_close(bus, 10000, NULL, &error));
    FAILS(EVBUS_ERR_CLOSED, evbus_bus_dead_letters(bus, TYPE, NULL, &letters, &error));
    evbus_bus_free(bus);
    evbus_dead_letter_options_free(NULL);
    evbus_dead_letters_free(NULL);
    evbus_replay_report_free(NULL);
    puts("ok");
    return 0;
}
