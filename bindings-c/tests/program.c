/* Exits with 0 when the header it was compiled with and the library it runs with say the same. */

#include <evbus.h>
#include <stdio.h>
#include <string.h>

static int failures = 0;

static void check(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "not so: %s\n", what);
        failures += 1;
    }
}

int main(void)
{
    char version[64];
    snprintf(version, sizeof version, "%d.%d.%d", EVBUS_VERSION_MAJOR, EVBUS_VERSION_MINOR, EVBUS_VERSION_PATCH);
    check(strcmp(version, evbus_version_string()) == 0, "the version of the header is that of the library");
    check(EVBUS_ABI_VERSION == evbus_abi_version(), "the interface of the header is that of the library");
    check(strcmp(evbus_code_name(EVBUS_OK), "EVBUS_OK") == 0, "success has a name");
    check(strcmp(evbus_code_name(EVBUS_ERR_TIMEOUT), "EVBUS_TIMEOUT") == 0, "a code has a name");
    check(strcmp(evbus_code_name(12345), "EVBUS_UNKNOWN") == 0, "a stranger is unknown");
    check(evbus_code_retryable(EVBUS_ERR_QUEUE_FULL), "a full queue can be tried again");
    check(!evbus_code_retryable(EVBUS_ERR_CONFIG), "a wrong configuration cannot be tried again");
    check(evbus_code_fatal(EVBUS_ERR_FENCED), "a fenced bus is dead");
    check(!evbus_code_fatal(EVBUS_ERR_TIMEOUT), "a late bus is not dead");
    printf("evbus %s abi %d\n", evbus_version_string(), (int)evbus_abi_version());
    return failures == 0 ? 0 : 1;
}
