// Publishes orders and handles them, in C++17.
//
//   KAFKA_BROKERS=localhost:9092 KAFKA_GROUP_ID=billing ./example order.placed 10

#include <evbus.hpp>

#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <mutex>

int main(int argc, char **argv)
try {
    const std::string type = argc > 1 ? argv[1] : "order.placed";
    const int count = argc > 2 ? std::atoi(argv[2]) : 10;
    std::mutex mutex;
    std::condition_variable changed;
    int handled = 0;

    evbus::config config;
    config.set("clientId", "example-cpp").set("kafka.fetch.wait.max.ms", "50").from_env();
    evbus::bus bus(config);
    const auto subscription = bus.subscribe(type, [&](evbus::delivery &delivery) {
        const std::lock_guard lock(mutex);
        std::cout << delivery.aggregate_id() << ' ' << delivery.payload() << std::endl;
        handled += 1;
        changed.notify_one();
        return evbus::outcome::done;
    });

    for (int number = 0; number < count; number++)
        bus.publish(evbus::event(type, "order-1", "{\"number\":" + std::to_string(number) + "}"));

    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return handled >= count; });
    lock.unlock();
    bus.close();
} catch (const evbus::error &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
