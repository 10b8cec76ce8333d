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
    check(evbus_abi_check(EVBUS_ABI_VERSION, EVBUS_VERSION_NUMBER, NULL) == EVBUS_OK, "header and library belong together");
    evbus_error *error = NULL;
    check(evbus_abi_check(EVBUS_ABI_VERSION, EVBUS_VERSION_NUMBER + 1, &error) == EVBUS_ERR_ILLEGAL_STATE,
          "a library that is older than the header is refused");
    check(strstr(evbus_error_message(error), "header") != NULL,
          "the error says why");
    evbus_error_free(error);
    check(evbus_abi_check(EVBUS_ABI_VERSION + 1, EVBUS_VERSION_NUMBER, NULL) == EVBUS_ERR_ILLEGAL_STATE,
          "another interface is refused");
    puts("ok");
    return failures == 0 ? 0 : 1;
}
