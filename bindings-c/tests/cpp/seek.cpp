/* Reading a partition again, by the wrapper for C++. */

#include <evbus.hpp>

#include <chrono>
#include <condition_variable>
#include <iostream>
#include <mutex>
#include <stdexcept>
#include <vector>

int main()
try {
    const std::string type = "order.placed";
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::int64_t> offsets;
    std::int32_t partition = -1;
    std::chrono::milliseconds first{0};

    evbus::config config;
    config.set("brokers", "memory:cpp").set("clientId", "cpp").set("groupId", "cpp");
    evbus::bus bus(config);
    const auto subscription = bus.subscribe(type, [&](evbus::delivery &delivery) {
        const std::lock_guard lock(mutex);
        offsets.push_back(delivery.offset());
        partition = delivery.partition();
        if (delivery.offset() == 0)
            first = delivery.timestamp();
        changed.notify_one();
        return evbus::outcome::done;
    });
    const auto expect = [&](const std::vector<std::int64_t> &wanted) {
        std::unique_lock lock(mutex);
        if (!changed.wait_for(lock, std::chrono::seconds(30), [&] { return offsets.size() >= wanted.size(); }))
            throw std::runtime_error("events are missing");
        if (offsets != wanted)
            throw std::runtime_error("other events came");
    };

    for (int number = 0; number < 3; number++)
        bus.publish(evbus::event(type, "order-1", "{}"));
    expect({0, 1, 2});
    bus.seek(type, partition, EVBUS_OFFSET_BEGINNING);
    expect({0, 1, 2, 0, 1, 2});
    bus.seek(type, partition, 2);
    expect({0, 1, 2, 0, 1, 2, 2});
    bus.seek(type, partition, first);
    expect({0, 1, 2, 0, 1, 2, 2, 0, 1, 2});
    try {
        bus.seek(type, 1000, 0);
        throw std::runtime_error("a partition of nobody was sought");
    } catch (const evbus::error &error) {
        if (error.code() != EVBUS_ERR_ILLEGAL_STATE)
            throw;
    }
    bus.close();
    std::cout << "ok\n";
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
