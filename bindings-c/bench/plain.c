/* The yardstick: the same on plain librdkafka with the settings of the bus: plain BOOTSTRAP TOPIC publish|consume EVENTS. */

#include "common.h"
#include "rdkafka.h"

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[256];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK)
        fail(name, why);
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    (void)client;
    (void)opaque;
    if (message->err)
        fail("publish", rd_kafka_err2str(message->err));
    count_one();
}

static int ending;

/* Serves delivery reports, as the delivery thread of the bus does. */
static void *serve(void *client)
{
    while (!__atomic_load_n(&ending, __ATOMIC_RELAXED))
        rd_kafka_poll(client, 100);
    return NULL;
}

static void publish(rd_kafka_conf_t *conf, const char *topic)
{
    char why[256], value[VALUE_SIZE + 1], event_id[37], key[32];
    pthread_t thread;
    set(conf, "enable.idempotence", "true");
    set(conf, "acks", "all");
    set(conf, "linger.ms", "0");
    set(conf, "partitioner", "murmur2_random");
    set(conf, "queue.buffering.max.messages", IN_FLIGHT);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (client == NULL)
        fail("connect", why);
    pthread_create(&thread, NULL, serve, client);
    double begin = seconds();
    for (long number = 0; number < wanted; number++) {
        value_of(value, event_id, key, number);
        for (;;) {
            rd_kafka_resp_err_t code = rd_kafka_producev(
                client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key, strlen(key)), RD_KAFKA_V_VALUE(value, VALUE_SIZE),
                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADER("eventId", event_id, 36),
                RD_KAFKA_V_HEADER("version", "1", 1), RD_KAFKA_V_HEADER("timestamp", "2026-01-01T00:00:00.000Z", 24),
                RD_KAFKA_V_END);
            if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
                break;
            if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
                fail("publish", rd_kafka_err2str(code));
            struct timespec moment = {0, 100000};
            nanosleep(&moment, NULL);
        }
    }
    await_all();
    report(wanted, seconds() - begin);
    __atomic_store_n(&ending, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    rd_kafka_destroy(client);
}

/* A program that consumes records with headers reads them; librdkafka does not look at them before it is asked. */
static void handle(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers = NULL;
    const char *name;
    const void *value;
    size_t size, headers_size = 0;
    int index = 0;
    if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
        for (; rd_kafka_header_get_all(headers, (size_t)index, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; index++)
            headers_size += size;
    check_record(message->key_len, message->len, index, headers_size);
}

static void consume(rd_kafka_conf_t *conf, const char *topic)
{
    char why[256], group[64];
    snprintf(group, sizeof group, "plain-%ld", (long)time(NULL));
    set(conf, "group.id", group);
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "enable.auto.commit", "true");
    set(conf, "auto.commit.interval.ms", "1000");
    set(conf, "fetch.queue.backoff.ms", "10");
    set(conf, "queued.max.messages.kbytes", "16384");
    set(conf, "queued.min.messages", "16384");
    set(conf, "fetch.max.bytes", "8388608");
    set(conf, "max.partition.fetch.bytes", "1048576");
    set(conf, "partition.assignment.strategy", "cooperative-sticky");
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (client == NULL)
        fail("connect", why);
    rd_kafka_poll_set_consumer(client);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(client, topics);
    while (counted < wanted) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 1000);
        if (message == NULL)
            continue;
        if (!message->err) {
            handle(message);
            count_one();
        }
        rd_kafka_message_destroy(message);
    }
    report(wanted, elapsed_between());
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        fail("usage", "plain BOOTSTRAP TOPIC publish|consume EVENTS");
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    wanted = atol(argv[4]);
    set(conf, "bootstrap.servers", argv[1]);
    set(conf, "client.id", "bench");
    if (strcmp(argv[3], "publish") == 0)
        publish(conf, argv[2]);
    else
        consume(conf, argv[2]);
    return 0;
}
