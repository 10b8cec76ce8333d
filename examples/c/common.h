/* What the examples share: failing with a message, and a bus from the environment. */

#ifndef COMMON_H
#define COMMON_H

#include <evbus.h>
#include <stdio.h>
#include <stdlib.h>

static inline void must(const char *what, int32_t code, evbus_error *error)
{
    if (code == EVBUS_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, error != NULL ? evbus_error_report(error) : evbus_code_name(code));
    evbus_error_free(error);
    exit(1);
}

/* KAFKA_BROKERS says where Kafka is, KAFKA_GROUP_ID which group consumes. */
static inline evbus_bus *connect_bus(const char *client_id)
{
    evbus_error *error = NULL;
    evbus_bus *bus = NULL;
    must("the header and the library", evbus_abi_check(EVBUS_ABI_VERSION, EVBUS_VERSION_NUMBER, &error), error);
    evbus_config *config = evbus_config_new();
    must("configure", evbus_config_set(config, "clientId", client_id, &error), error);
    /* Short waits of the broker make few events quick; leave it out for many. */
    must("configure", evbus_config_set(config, "kafka.fetch.wait.max.ms", "50", &error), error);
    must("configure", evbus_config_from_env(config, &error), error);
    must("connect", evbus_bus_connect(config, &bus, &error), error);
    evbus_config_free(config);
    return bus;
}

static inline void close_bus(evbus_bus *bus)
{
    evbus_error *error = NULL;
    must("close", evbus_bus_close(bus, -1, NULL, &error), error);
    evbus_bus_free(bus);
}

#endif
