/*
 * C++17 over evbus.h: objects that free themselves, errors as exceptions, handlers as functions.
 *
 * Everything is movable and nothing is copied. What a call throws is evbus::error. The rules of evbus.h about threads
 * hold; evbus.h says what each call does.
 */

#ifndef EVBUS_HPP
#define EVBUS_HPP

#include <evbus.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace evbus {

/* How a handler ends. */
enum class outcome : std::int32_t {
    done = EVBUS_DONE,
    retry = EVBUS_RETRY,
    dead_letter = EVBUS_DEAD_LETTER,
    skip = EVBUS_SKIP,
    /* No attempt can succeed: what follows the last attempt follows at once. */
    fatal = EVBUS_FATAL,
};

/* Why a call failed. */
class error : public std::runtime_error {
public:
    explicit error(evbus_error *raw)
        : std::runtime_error(evbus_error_report(raw)), raw_(raw, evbus_error_free)
    {
    }

    std::int32_t code() const noexcept { return evbus_error_code(raw_.get()); }
    bool retryable() const noexcept { return evbus_error_retryable(raw_.get()); }
    bool fatal() const noexcept { return evbus_error_fatal(raw_.get()); }
    /* A failed publish was certainly not stored. */
    bool not_sent() const noexcept { return evbus_error_outcome(raw_.get()) == EVBUS_OUTCOME_NOT_SENT; }
    const evbus_error *get() const noexcept { return raw_.get(); }

private:
    /* Shared, because exceptions are copied. */
    std::shared_ptr<evbus_error> raw_;
};

namespace detail {

template <auto Free> struct deleter {
    template <class T> void operator()(T *object) const noexcept { Free(object); }
};

template <class T, auto Free> using handle = std::unique_ptr<T, deleter<Free>>;

/* Calls a function of evbus.h with a place for its error. */
template <class Call> void must(Call &&call)
{
    evbus_error *raw = nullptr;
    if (call(&raw) != EVBUS_OK)
        throw error(raw);
}

inline std::string_view view(evbus_str text) noexcept { return {text.data == nullptr ? "" : text.data, text.len}; }

inline std::optional<std::string_view> view(evbus_bytes bytes) noexcept
{
    if (bytes.data == nullptr)
        return std::nullopt;
    return std::string_view(reinterpret_cast<const char *>(bytes.data), bytes.len);
}

inline const std::uint8_t *bytes(std::string_view text) noexcept
{
    /* An empty view may point nowhere, which would be Kafka's null. */
    return reinterpret_cast<const std::uint8_t *>(text.data() == nullptr ? "" : text.data());
}

} // namespace detail

using milliseconds = std::chrono::milliseconds;

/* Leaves a time to the configuration. */
inline constexpr milliseconds configured{-1};

class config {
public:
    config() : raw_(evbus_config_new()) {}

    config &set(const char *key, const char *value)
    {
        detail::must([&](evbus_error **raw) { return evbus_config_set(raw_.get(), key, value, raw); });
        return *this;
    }

    config &set(const char *key, const std::string &value) { return set(key, value.c_str()); }

    config &from_env()
    {
        detail::must([&](evbus_error **raw) { return evbus_config_from_env(raw_.get(), raw); });
        return *this;
    }

    config &callback_threads(std::int32_t count)
    {
        detail::must([&](evbus_error **raw) { return evbus_config_set_callback_threads(raw_.get(), count, raw); });
        return *this;
    }

    /* `on_record` gets records from a level (EVBUS_LOG_*) on. What it throws is swallowed. */
    config &log(std::int32_t lowest, std::function<void(const evbus_log_record *)> on_record)
    {
        using function = std::function<void(const evbus_log_record *)>;
        auto owned = std::make_unique<function>(std::move(on_record));
        const auto call = [](const evbus_log_record *record, void *user_data) {
            try {
                (*static_cast<function *>(user_data))(record);
            } catch (...) {
            }
        };
        const auto free = [](void *user_data) { delete static_cast<function *>(user_data); };
        detail::must([&](evbus_error **raw) {
            return evbus_config_set_log(raw_.get(), lowest, call, owned.get(), free, raw);
        });
        static_cast<void>(owned.release());
        return *this;
    }

    const evbus_config *get() const noexcept { return raw_.get(); }

private:
    detail::handle<evbus_config, evbus_config_free> raw_;
};

/* A domain event, or a record as it is. */
class event {
public:
    event(const std::string &type, const std::string &aggregate_id, const std::string &payload)
    {
        evbus_event *made = nullptr;
        detail::must([&](evbus_error **raw) {
            return evbus_event_new(type.c_str(), aggregate_id.c_str(), payload.c_str(), &made, raw);
        });
        raw_.reset(made);
    }

    static event record(const std::string &topic)
    {
        evbus_event *made = nullptr;
        detail::must([&](evbus_error **raw) { return evbus_event_new_record(topic.c_str(), &made, raw); });
        return event(made);
    }

    event &id(const std::string &event_id)
    {
        detail::must([&](evbus_error **raw) { return evbus_event_set_id(raw_.get(), event_id.c_str(), raw); });
        return *this;
    }

    event &version(std::int64_t number)
    {
        detail::must([&](evbus_error **raw) { return evbus_event_set_version(raw_.get(), number, raw); });
        return *this;
    }

    /* Milliseconds since the Unix epoch. */
    event &occurred_on(std::int64_t milliseconds)
    {
        detail::must([&](evbus_error **raw) { return evbus_event_set_occurred_on(raw_.get(), milliseconds, raw); });
        return *this;
    }

    event &key(std::string_view key)
    {
        detail::must([&](evbus_error **raw) {
            return evbus_event_set_key(raw_.get(), detail::bytes(key), key.size(), raw);
        });
        return *this;
    }

    event &value(std::string_view value)
    {
        detail::must([&](evbus_error **raw) {
            return evbus_event_set_value(raw_.get(), detail::bytes(value), value.size(), raw);
        });
        return *this;
    }

    event &header(const std::string &name, std::string_view value)
    {
        detail::must([&](evbus_error **raw) {
            return evbus_event_add_header(raw_.get(), name.c_str(), detail::bytes(value), value.size(), raw);
        });
        return *this;
    }

    evbus_event *get() const noexcept { return raw_.get(); }

private:
    explicit event(evbus_event *raw) : raw_(raw) {}

    detail::handle<evbus_event, evbus_event_free> raw_;
};

/* A received event. Its views are valid as long as it is. */
class delivery {
public:
    /* Takes over one hold of `raw`. */
    explicit delivery(evbus_delivery *raw) noexcept : raw_(raw) {}

    std::string_view topic() const noexcept { return detail::view(evbus_delivery_topic(get())); }
    std::int32_t partition() const noexcept { return evbus_delivery_partition(get()); }
    std::int64_t offset() const noexcept { return evbus_delivery_offset(get()); }

    /* Since the Unix epoch; negative if the record has none. */
    milliseconds timestamp() const noexcept { return milliseconds(evbus_delivery_timestamp(get())); }

    std::int32_t attempt() const noexcept { return evbus_delivery_attempt(get()); }
    std::string_view event_type() const noexcept { return detail::view(evbus_delivery_event_type(get())); }
    std::int64_t version() const noexcept { return evbus_delivery_version(get()); }
    std::string_view event_id() const noexcept { return detail::view(evbus_delivery_event_id(get())); }
    std::string_view aggregate_id() const noexcept { return detail::view(evbus_delivery_aggregate_id(get())); }
    std::string_view payload() const noexcept { return detail::view(evbus_delivery_payload(get())); }
    std::optional<std::string_view> key() const noexcept { return detail::view(evbus_delivery_key(get())); }
    std::optional<std::string_view> value() const noexcept { return detail::view(evbus_delivery_value(get())); }

    std::optional<std::string_view> header(const std::string &name) const noexcept
    {
        return detail::view(evbus_delivery_header(get(), name.c_str()));
    }

    /* Milliseconds since the Unix epoch, where the event says it. */
    std::optional<std::int64_t> occurred_on() const noexcept
    {
        std::int64_t milliseconds = 0;
        if (!evbus_delivery_occurred_on(get(), &milliseconds))
            return std::nullopt;
        return milliseconds;
    }

    /* Says how the handling ended; `true` when that may have come too late. */
    bool finish(outcome how, const char *reason = nullptr)
    {
        bool stale = false;
        detail::must([&](evbus_error **raw) {
            return evbus_delivery_finish(raw_.get(), static_cast<std::int32_t>(how), reason, &stale, raw);
        });
        return stale;
    }

    evbus_delivery *get() const noexcept { return raw_.get(); }

private:
    detail::handle<evbus_delivery, evbus_delivery_release> raw_;
};

/* What a handler throws when no attempt can succeed. */
class fatal_failure : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/* What one subscription wants, where it is not what the bus was configured with. */
class subscription_options {
public:
    subscription_options() : raw_(evbus_subscription_options_new()) {}

    subscription_options &set(const char *key, const std::string &value)
    {
        detail::must([&](evbus_error **raw) {
            return evbus_subscription_options_set(raw_.get(), key, value.c_str(), raw);
        });
        return *this;
    }

    const evbus_subscription_options *get() const noexcept { return raw_.get(); }

private:
    detail::handle<evbus_subscription_options, evbus_subscription_options_free> raw_;
};

/* Which dead letters are meant, and how to replay them. */
class dead_letter_options {
public:
    dead_letter_options() : raw_(evbus_dead_letter_options_new()) {}

    dead_letter_options &set(const char *key, const std::string &value)
    {
        detail::must([&](evbus_error **raw) {
            return evbus_dead_letter_options_set(raw_.get(), key, value.c_str(), raw);
        });
        return *this;
    }

    const evbus_dead_letter_options *get() const noexcept { return raw_.get(); }

private:
    detail::handle<evbus_dead_letter_options, evbus_dead_letter_options_free> raw_;
};

/* Dead letters as they were when they were looked at. */
class dead_letters {
public:
    explicit dead_letters(evbus_dead_letters *raw) noexcept : raw_(raw) {}

    std::size_t size() const noexcept { return evbus_dead_letters_count(raw_.get()); }
    std::int32_t partition(std::size_t index) const noexcept { return evbus_dead_letters_partition(raw_.get(), index); }
    std::int64_t offset(std::size_t index) const noexcept { return evbus_dead_letters_offset(raw_.get(), index); }

    /* "reason", "errorMessage", "eventId", ... as evbus_dead_letters_field names them. */
    std::optional<std::string> field(std::size_t index, const char *name) const
    {
        const char *text = evbus_dead_letters_field(raw_.get(), index, name);
        return text == nullptr ? std::nullopt : std::optional<std::string>(text);
    }

private:
    detail::handle<evbus_dead_letters, evbus_dead_letters_free> raw_;
};

/* What a replay did. */
struct replay_report {
    std::uint64_t replayed;
    std::uint64_t skipped;
    bool complete;
};

class subscription {
public:
    explicit subscription(evbus_subscription *raw) noexcept : raw_(raw) {}

    /* The next event, or nothing when the time passed. A negative time is for ever. */
    std::optional<delivery> poll(milliseconds timeout)
    {
        evbus_delivery *next = nullptr;
        detail::must([&](evbus_error **raw) {
            return evbus_subscription_poll(raw_.get(), timeout.count(), &next, raw);
        });
        if (next == nullptr)
            return std::nullopt;
        return std::optional<delivery>(std::in_place, next);
    }

    int fd() const
    {
        std::int32_t descriptor = -1;
        detail::must([&](evbus_error **raw) { return evbus_subscription_fd(raw_.get(), &descriptor, raw); });
        return descriptor;
    }

    void unsubscribe(milliseconds timeout = configured)
    {
        detail::must([&](evbus_error **raw) {
            return evbus_subscription_unsubscribe(raw_.get(), timeout.count(), raw);
        });
    }

private:
    detail::handle<evbus_subscription, evbus_subscription_free> raw_;
};

/* Where a record was stored. */
struct receipt {
    std::int32_t partition;
    std::int64_t offset;
};

/* A connected bus. Its destructor closes it within shutdownTimeoutMs. */
class bus {
public:
    explicit bus(const config &config)
    {
        evbus_bus *made = nullptr;
        detail::must([&](evbus_error **raw) { return evbus_bus_connect(config.get(), &made, raw); });
        raw_.reset(made);
    }

    receipt publish(const event &event, milliseconds timeout = configured)
    {
        receipt stored{-1, -1};
        detail::must([&](evbus_error **raw) {
            return evbus_bus_publish(raw_.get(), event.get(), timeout.count(), &stored.partition, &stored.offset, raw);
        });
        return stored;
    }

    /* `handler` returns an outcome; an exception is a retry with its text as the reason, or a fatal failure. */
    subscription subscribe(const std::string &type, std::function<outcome(delivery &)> handler,
                           const subscription_options &options = {})
    {
        using function = std::function<outcome(delivery &)>;
        auto owned = std::make_unique<function>(std::move(handler));
        const auto call = [](evbus_delivery *lent, void *user_data) -> std::int32_t {
            if (evbus_delivery_retain(lent, nullptr) != EVBUS_OK)
                return EVBUS_RETRY;
            delivery held(lent);
            try {
                return static_cast<std::int32_t>((*static_cast<function *>(user_data))(held));
            } catch (const fatal_failure &thrown) {
                evbus_delivery_finish(lent, EVBUS_FATAL, thrown.what(), nullptr, nullptr);
            } catch (const std::exception &thrown) {
                evbus_delivery_retry(lent, thrown.what(), nullptr);
            } catch (...) {
                evbus_delivery_retry(lent, "the handler threw something that is no std::exception", nullptr);
            }
            return EVBUS_RETRY;
        };
        const auto free = [](void *user_data) { delete static_cast<function *>(user_data); };
        evbus_subscription *made = nullptr;
        detail::must([&](evbus_error **raw) {
            return evbus_bus_subscribe_with(raw_.get(), type.c_str(), options.get(), call, owned.get(), free, &made,
                                            raw);
        });
        static_cast<void>(owned.release());
        return subscription(made);
    }

    subscription subscribe_pull(const std::string &type, const subscription_options &options = {})
    {
        evbus_subscription *made = nullptr;
        detail::must([&](evbus_error **raw) {
            return evbus_bus_subscribe_pull_with(raw_.get(), type.c_str(), options.get(), &made, raw);
        });
        return subscription(made);
    }

    evbus::dead_letters dead_letters(const std::string &type, const dead_letter_options &options = {})
    {
        evbus_dead_letters *found = nullptr;
        detail::must([&](evbus_error **raw) {
            return evbus_bus_dead_letters(raw_.get(), type.c_str(), options.get(), &found, raw);
        });
        return evbus::dead_letters(found);
    }

    replay_report replay_dead_letters(const std::string &type, const dead_letter_options &options = {})
    {
        evbus_replay_report *made = nullptr;
        detail::must([&](evbus_error **raw) {
            return evbus_bus_replay_dead_letters(raw_.get(), type.c_str(), options.get(), &made, raw);
        });
        const detail::handle<evbus_replay_report, evbus_replay_report_free> report(made);
        return {evbus_replay_report_replayed(made), evbus_replay_report_skipped(made),
                evbus_replay_report_complete(made)};
    }

    /* An offset, EVBUS_OFFSET_BEGINNING or EVBUS_OFFSET_END. */
    void seek(const std::string &type, std::int32_t partition, std::int64_t offset)
    {
        detail::must([&](evbus_error **raw) { return evbus_bus_seek(raw_.get(), type.c_str(), partition, offset, raw); });
    }

    /* The first record of that time, since the Unix epoch, or a later one. */
    void seek(const std::string &type, std::int32_t partition, milliseconds time)
    {
        detail::must([&](evbus_error **raw) {
            return evbus_bus_seek_to_timestamp(raw_.get(), type.c_str(), partition, time.count(), raw);
        });
    }

    bool is_connected() const noexcept { return evbus_bus_is_connected(raw_.get()); }

    bool is_live() const noexcept { return evbus_bus_is_live(raw_.get()); }

    /* An object in JSON. */
    std::string health() const
    {
        char *text = nullptr;
        detail::must([&](evbus_error **raw) { return evbus_bus_health_json(raw_.get(), &text, raw); });
        const detail::handle<char, evbus_string_free> owned(text);
        return owned.get();
    }

    std::string metrics() const
    {
        char *text = nullptr;
        detail::must([&](evbus_error **raw) { return evbus_bus_metrics(raw_.get(), &text, raw); });
        const detail::handle<char, evbus_string_free> owned(text);
        return owned.get();
    }

    void close(milliseconds timeout = configured)
    {
        detail::must([&](evbus_error **raw) { return evbus_bus_close(raw_.get(), timeout.count(), nullptr, raw); });
    }

    evbus_bus *get() const noexcept { return raw_.get(); }

private:
    static void end(evbus_bus *raw) noexcept
    {
        if (raw != nullptr)
            evbus_bus_close(raw, -1, nullptr, nullptr);
        evbus_bus_free(raw);
    }

    detail::handle<evbus_bus, end> raw_;
};

/* A Kafka cluster inside this process. */
class test_broker {
public:
    explicit test_broker(std::int32_t brokers = 1)
    {
        evbus_test_broker *made = nullptr;
        detail::must([&](evbus_error **raw) { return evbus_test_broker_start(brokers, &made, raw); });
        raw_.reset(made);
    }

    std::string bootstrap() const { return evbus_test_broker_bootstrap(raw_.get()); }

private:
    detail::handle<evbus_test_broker, evbus_test_broker_free> raw_;
};

} // namespace evbus

#endif
