/* Runs the conformance scenarios in C: runner BROKERS SCRIPT. dev/conformance.mjs writes the script, runs the same in
 * every language, and compares what they print. */

#include "../c/check.h"

enum { MAX_WORDS = 16, MAX_CALLS = 256, MAX_EVENTS = 64 };

typedef struct {
    char id[64];
    char *outcomes[MAX_WORDS];
    int count;
    int called;
} plan;

static const char *brokers;
static char name[64], topic[64];
static evbus_config *config;
static evbus_bus *bus;
static evbus_subscription *subscription;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static counter called = COUNTER_INIT;
static char *calls[MAX_CALLS];
static long calls_made;
static plan plans[MAX_EVENTS];
static int plans_made;

static plan *plan_of(const char *id)
{
    for (int index = 0; index < plans_made; index++)
        if (strcmp(plans[index].id, id) == 0)
            return &plans[index];
    CHECK(plans_made < MAX_EVENTS && strlen(id) < sizeof plans[0].id);
    plan *made = &plans[plans_made++];
    memset(made, 0, sizeof *made);
    strcpy(made->id, id);
    return made;
}

static int32_t handle(evbus_delivery *delivery, void *user_data)
{
    evbus_error *error = NULL;
    char id[64], line[1024], message[128];
    int64_t occurred_on = -1;
    evbus_str event_id = evbus_delivery_event_id(delivery), aggregate = evbus_delivery_aggregate_id(delivery);
    evbus_str type = evbus_delivery_event_type(delivery), payload = evbus_delivery_payload(delivery);
    (void)user_data;
    (void)evbus_delivery_occurred_on(delivery, &occurred_on);
    snprintf(id, sizeof id, "%.*s", (int)event_id.len, event_id.data);
    snprintf(line, sizeof line, "%.*s\t%s\t%d\t%.*s\t%lld\t%lld\t%.*s", (int)aggregate.len, aggregate.data, id,
             (int)evbus_delivery_attempt(delivery), (int)type.len, type.data, (long long)evbus_delivery_version(delivery),
             (long long)occurred_on, (int)payload.len, payload.data);
    pthread_mutex_lock(&mutex);
    plan *plan = plan_of(id);
    const char *outcome = plan->called < plan->count ? plan->outcomes[plan->called] : "done";
    plan->called += 1;
    CHECK(calls_made < MAX_CALLS);
    calls[calls_made++] = strdup(line);
    pthread_mutex_unlock(&mutex);
    int fatal = strcmp(outcome, "fatal") == 0, failed = fatal || strcmp(outcome, "retry") == 0;
    if (failed) {
        snprintf(message, sizeof message, fatal ? "%s is hopeless" : "%s fails", id);
        OK(evbus_delivery_finish(delivery, fatal ? EVBUS_FATAL : EVBUS_RETRY, message, NULL, &error));
    }
    counter_add(&called, 1);
    return failed ? EVBUS_RETRY : EVBUS_DONE;
}

static void option(const char *key, const char *value)
{
    evbus_error *error = NULL;
    OK(evbus_config_set(config, key, value, &error));
}

static void begin(const char *scenario, const char *type)
{
    char group[128];
    snprintf(name, sizeof name, "%s", scenario);
    snprintf(topic, sizeof topic, "%s", type);
    snprintf(group, sizeof group, "conformance-%s", scenario);
    calls_made = plans_made = 0;
    counter_add(&called, -counter_get(&called));
    config = evbus_config_new();
    option("brokers", brokers);
    option("clientId", "conformance");
    option("groupId", group);
}

static void connect_bus(void)
{
    evbus_error *error = NULL;
    if (bus == NULL)
        OK(evbus_bus_connect(config, &bus, &error));
}

static void end_bus(void)
{
    evbus_subscription_free(subscription);
    subscription = NULL;
    close_bus(bus);
    bus = NULL;
}

static void publish(char **words)
{
    evbus_error *error = NULL;
    evbus_event *event = NULL;
    OK(evbus_event_new(topic, words[2], words[5], &event, &error));
    OK(evbus_event_set_id(event, words[1], &error));
    OK(evbus_event_set_version(event, atoll(words[3]), &error));
    OK(evbus_event_set_occurred_on(event, atoll(words[4]), &error));
    OK(evbus_bus_publish(bus, event, -1, NULL, NULL, &error));
    evbus_event_free(event);
}

static evbus_dead_letters *list(void)
{
    evbus_dead_letters *letters = NULL;
    /* There may be no topic of dead letters yet, or none at all. */
    evbus_bus_dead_letters(bus, topic, NULL, &letters, NULL);
    return letters;
}

static void await_letters(size_t count)
{
    size_t found = 0;
    for (int64_t until = now_ms() + DEADLINE_MS; found < count && now_ms() < until;) {
        evbus_dead_letters *letters = list();
        found = evbus_dead_letters_count(letters);
        evbus_dead_letters_free(letters);
    }
    CHECK(found >= count);
}

static const char *field(const evbus_dead_letters *letters, size_t index, const char *of, const char *otherwise)
{
    const char *text = evbus_dead_letters_field(letters, index, of);
    return text != NULL ? text : otherwise;
}

static void end(void)
{
    evbus_dead_letters *letters = list();
    end_bus();
    evbus_config_free(config);
    for (long index = 0; index < calls_made; index++) {
        printf("call\t%s\t%s\n", name, calls[index]);
        free(calls[index]);
    }
    for (size_t index = 0; index < evbus_dead_letters_count(letters); index++)
        printf("letter\t%s\t%s\t%s\t%s\t%s\n", name, field(letters, index, "eventId", "-"),
               field(letters, index, "reason", "-"), field(letters, index, "attempts", "0"),
               field(letters, index, "errorMessage", "-"));
    evbus_dead_letters_free(letters);
    for (int index = 0; index < plans_made; index++)
        for (int at = 0; at < plans[index].count; at++)
            free(plans[index].outcomes[at]);
    printf("done\t%s\n", name);
}

static void step(char **words, int count)
{
    evbus_error *error = NULL;
    if (strcmp(words[0], "scenario") == 0) {
        begin(words[1], words[2]);
    } else if (strcmp(words[0], "option") == 0) {
        option(words[1], words[2]);
    } else if (strcmp(words[0], "outcome") == 0) {
        plan *plan = plan_of(words[1]);
        for (int index = 2; index < count; index++)
            plan->outcomes[plan->count++] = strdup(words[index]);
    } else if (strcmp(words[0], "event") == 0) {
        connect_bus();
        publish(words);
    } else if (strcmp(words[0], "subscribe") == 0) {
        connect_bus();
        OK(evbus_bus_subscribe(bus, topic, handle, NULL, NULL, &subscription, &error));
    } else if (strcmp(words[0], "calls") == 0) {
        CHECK(counter_await(&called, atol(words[1])));
    } else if (strcmp(words[0], "letters") == 0) {
        await_letters((size_t)atol(words[1]));
    } else if (strcmp(words[0], "replay") == 0) {
        OK(evbus_bus_replay_dead_letters(bus, topic, NULL, NULL, &error));
    } else if (strcmp(words[0], "restart") == 0) {
        end_bus();
    } else {
        CHECK(strcmp(words[0], "end") == 0);
        end();
    }
}

int main(int argc, char **argv)
{
    static char line[4096];
    CHECK(argc == 3);
    brokers = argv[1];
    FILE *script = fopen(argv[2], "r");
    CHECK(script != NULL);
    while (fgets(line, sizeof line, script) != NULL) {
        char *words[MAX_WORDS] = {NULL};
        int count = 0;
        line[strcspn(line, "\n")] = '\0';
        for (char *word = line; word != NULL && count < MAX_WORDS; count++) {
            words[count] = word;
            word = strchr(word, '\t');
            if (word != NULL)
                *word++ = '\0';
        }
        step(words, count);
    }
    fclose(script);
    return 0;
}
