// Runs the conformance scenarios in C++: runner BROKERS SCRIPT. dev/conformance.mjs writes the script, runs the same in
// every language, and compares what they print.

#include <condition_variable>
#include <evbus.hpp>
#include <fstream>
#include <iostream>
#include <map>
#include <mutex>
#include <sstream>
#include <vector>

using namespace std::chrono_literals;

namespace {

using words = std::vector<std::string>;

constexpr auto patience = 30s;

class scenario {
public:
    scenario(const std::string &brokers, const words &line) : name_(line.at(1)), topic_(line.at(2))
    {
        config_.set("brokers", brokers).set("clientId", "conformance").set("groupId", "conformance-" + name_);
    }

    void step(const words &line)
    {
        const std::string &what = line.at(0);
        if (what == "option")
            config_.set(line.at(1).c_str(), line.at(2));
        else if (what == "outcome")
            outcomes_[line.at(1)] = words(line.begin() + 2, line.end());
        else if (what == "event")
            publish(line);
        else if (what == "subscribe")
            subscription_ = bus().subscribe(topic_, [this](evbus::delivery &delivery) { return handle(delivery); });
        else if (what == "calls")
            await_calls(std::stoul(line.at(1)));
        else if (what == "letters")
            await_letters(std::stoul(line.at(1)));
        else if (what == "replay")
            bus().replay_dead_letters(topic_);
        else if (what == "restart")
            close();
        else
            throw std::runtime_error("no such step: " + what);
    }

    void end()
    {
        std::vector<std::string> letters;
        try {
            const auto all = bus().dead_letters(topic_);
            for (std::size_t index = 0; index < all.size(); index++) {
                const auto field = [&](const char *of, const char *otherwise) {
                    return all.field(index, of).value_or(otherwise);
                };
                letters.push_back(field("eventId", "-") + '\t' + field("reason", "-") + '\t' + field("attempts", "0") +
                                  '\t' + field("errorMessage", "-"));
            }
        } catch (const evbus::error &error) {
            if (error.code() != EVBUS_ERR_UNKNOWN_TOPIC)
                throw;
        }
        close();
        for (const auto &call : calls_)
            std::cout << "call\t" << name_ << '\t' << call << '\n';
        for (const auto &letter : letters)
            std::cout << "letter\t" << name_ << '\t' << letter << '\n';
        std::cout << "done\t" << name_ << '\n';
    }

private:
    evbus::bus &bus()
    {
        if (!bus_)
            bus_.emplace(config_);
        return *bus_;
    }

    void close()
    {
        subscription_.reset();
        bus().close(patience);
        bus_.reset();
    }

    void publish(const words &line)
    {
        evbus::event event(topic_, line.at(2), line.at(5));
        event.id(line.at(1)).version(std::stoll(line.at(3))).occurred_on(std::stoll(line.at(4)));
        bus().publish(event);
    }

    evbus::outcome handle(const evbus::delivery &delivery)
    {
        const std::string id(delivery.event_id());
        std::ostringstream call;
        call << delivery.aggregate_id() << '\t' << id << '\t' << delivery.attempt() << '\t' << delivery.event_type()
             << '\t' << delivery.version() << '\t' << delivery.occurred_on().value_or(-1) << '\t' << delivery.payload();
        const std::lock_guard lock(mutex_);
        calls_.push_back(call.str());
        changed_.notify_all();
        const auto planned = outcomes_.find(id);
        const auto number = called_[id]++;
        if (planned == outcomes_.end() || number >= planned->second.size())
            return evbus::outcome::done;
        if (planned->second[number] == "retry")
            throw std::runtime_error(id + " fails");
        if (planned->second[number] == "fatal")
            throw evbus::fatal_failure(id + " is hopeless");
        return evbus::outcome::done;
    }

    void await_calls(std::size_t count)
    {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, patience, [&] { return calls_.size() >= count; }))
            throw std::runtime_error(name_ + ": not so many calls");
    }

    void await_letters(std::size_t count)
    {
        const auto until = std::chrono::steady_clock::now() + patience;
        for (std::size_t found = 0; found < count;) {
            try {
                found = bus().dead_letters(topic_).size();
            } catch (const evbus::error &error) {
                if (error.code() != EVBUS_ERR_UNKNOWN_TOPIC)
                    throw;
            }
            if (std::chrono::steady_clock::now() > until)
                throw std::runtime_error(name_ + ": not so many letters");
        }
    }

    std::string name_;
    std::string topic_;
    evbus::config config_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, words> outcomes_;
    std::map<std::string, std::size_t> called_;
    std::vector<std::string> calls_;
    std::optional<evbus::bus> bus_;
    std::optional<evbus::subscription> subscription_;
};

words split(const std::string &line)
{
    words all;
    std::istringstream rest(line);
    for (std::string word; std::getline(rest, word, '\t');)
        all.push_back(word);
    return all;
}

} // namespace

int main(int argc, char **argv)
try {
    if (argc != 3)
        throw std::runtime_error("usage: runner BROKERS SCRIPT");
    std::ifstream script(argv[2]);
    std::unique_ptr<scenario> current;
    for (std::string line; std::getline(script, line);) {
        const words all = split(line);
        if (all.at(0) == "scenario")
            current = std::make_unique<scenario>(argv[1], all);
        else if (all.at(0) == "end")
            current->end();
        else
            current->step(all);
    }
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
