/* A child of a process that used the library gets errors and does not hang; one that forks first is free to use it. */

#include "check.h"
#include <sys/wait.h>

static void in_child(void (*body)(void))
{
    pid_t child = fork();
    int status = 0;
    CHECK(child >= 0);
    if (child == 0) {
        /* A child that hangs is killed and counts as failed. */
        alarm(20);
        body();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static evbus_bus *bus;
static evbus_subscription *subscription;
static evbus_event *event;

static void use_fresh(void)
{
    evbus_bus *own = memory_bus("fresh", "fresh");
    publish_number(own, "fresh", "a", 1);
    close_bus(own);
}

static void use_inherited(void)
{
    evbus_error *error = NULL;
    evbus_bus *other = NULL;
    evbus_delivery *delivery = NULL;
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_bus_publish(bus, event, -1, NULL, NULL, &error));
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_subscription_poll(subscription, -1, &delivery, &error));
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_bus_close(bus, -1, NULL, &error));
    evbus_config *config = evbus_config_new();
    FAILS(EVBUS_ERR_ILLEGAL_STATE, evbus_bus_connect(config, &other, &error));
    evbus_config_free(config);
    evbus_subscription_free(subscription);
    evbus_event_free(event);
    evbus_bus_free(bus);
}

int main(void)
{
    evbus_error *error = NULL;
    in_child(use_fresh);
    bus = memory_bus("fork", "fork");
    OK(evbus_bus_subscribe_pull(bus, "fork", &subscription, &error));
    OK(evbus_event_new("fork", "a", "{}", &event, &error));
    in_child(use_inherited);
    /* The parent goes on. */
    OK(evbus_bus_publish(bus, event, -1, NULL, NULL, &error));
    evbus_event_free(event);
    evbus_subscription_free(subscription);
    close_bus(bus);
    puts("ok");
    return 0;
}
