/* A Kafka in this process, for the other examples: prints its address and lives until its input ends. */

#include <evbus.h>
#include <stdio.h>

int main(void)
{
    evbus_error *error = NULL;
    evbus_test_broker *broker = NULL;
    if (evbus_test_broker_start(1, &broker, &error) != EVBUS_OK) {
        fprintf(stderr, "broker: %s\n", evbus_error_report(error));
        evbus_error_free(error);
        return 1;
    }
    printf("%s\n", evbus_test_broker_bootstrap(broker));
    fflush(stdout);
    while (getchar() != EOF) {
    }
    evbus_test_broker_free(broker);
    return 0;
}
