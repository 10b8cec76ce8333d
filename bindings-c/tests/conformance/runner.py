"""Runs the conformance scenarios in Python: runner.py BROKERS SCRIPT, with examples/python on PYTHONPATH.

dev/conformance.mjs writes the script, runs the same in every language, and compares what they print.
"""

import json
import sys
import time

from evbus import Bus, Event, EventBusError, Subscription

PATIENCE_S = 30
UNKNOWN_TOPIC = 14


class Scenario:
    def __init__(self, brokers: str, name: str, topic: str) -> None:
        self.name, self.topic = name, topic
        self.options = {"brokers": brokers, "clientId": "conformance", "groupId": f"conformance-{name}"}
        self.outcomes: dict[str, list[str]] = {}
        self.called: dict[str, int] = {}
        self.calls: list[str] = []
        self.bus: Bus | None = None
        self.subscription: Subscription | None = None

    def connected(self) -> Bus:
        if self.bus is None:
            self.bus = Bus(self.options)
        return self.bus

    def close(self) -> None:
        self.subscription = None
        self.connected().close()
        self.bus = None

    def handle(self, event: Event) -> None:
        payload = json.dumps(event.payload, separators=(",", ":"), ensure_ascii=False)
        fields = (event.aggregate_id, event.event_id, event.attempt, event.event_type, event.version, event.occurred_on)
        self.calls.append("\t".join(str(field) for field in (*fields, payload)))
        number = self.called.get(event.event_id, 0)
        self.called[event.event_id] = number + 1
        outcomes = self.outcomes.get(event.event_id, [])
        outcome = outcomes[number] if number < len(outcomes) else "done"
        if outcome == "retry":
            event.fail(f"{event.event_id} fails")
        elif outcome == "fatal":
            event.fail(f"{event.event_id} is hopeless", fatal=True)
        else:
            event.ack()

    def letters(self) -> list[dict[str, str]]:
        try:
            return self.connected().dead_letters(self.topic)
        except EventBusError as error:
            if error.code == UNKNOWN_TOPIC:
                return []
            raise

    def step(self, words: list[str]) -> None:
        match words:
            case ["option", key, value]:
                self.options[key] = value
            case ["outcome", event_id, *outcomes]:
                self.outcomes[event_id] = outcomes
            case ["event", event_id, aggregate, version, occurred_on, payload]:
                more = {"event_id": event_id, "version": int(version), "occurred_on": int(occurred_on)}
                self.connected().publish(self.topic, aggregate, json.loads(payload), **more)
            case ["subscribe"]:
                self.subscription = self.connected().subscribe(self.topic)
            case ["calls", count]:
                until = time.monotonic() + PATIENCE_S
                while len(self.calls) < int(count):
                    event = self.subscription.poll(1000)
                    if event is not None:
                        self.handle(event)
                    assert time.monotonic() < until, f"{self.name}: not so many calls"
            case ["letters", count]:
                until = time.monotonic() + PATIENCE_S
                while len(self.letters()) < int(count):
                    assert time.monotonic() < until, f"{self.name}: not so many letters"
            case ["replay"]:
                self.connected().replay_dead_letters(self.topic)
            case ["restart"]:
                self.close()
            case _:
                raise ValueError(f"no such step: {words}")

    def end(self) -> None:
        letters = self.letters()
        self.close()
        for call in self.calls:
            print("call", self.name, call, sep="\t")
        for letter in letters:
            defaults = {"eventId": "-", "reason": "-", "attempts": "0", "errorMessage": "-"}
            print("letter", self.name, *(letter.get(name, other) for name, other in defaults.items()), sep="\t")
        print("done", self.name, sep="\t")


def main(brokers: str, script: str) -> None:
    scenario = None
    with open(script, encoding="utf-8") as lines:
        for line in lines:
            words = line.rstrip("\n").split("\t")
            if words[0] == "scenario":
                scenario = Scenario(brokers, *words[1:])
            elif words[0] == "end":
                scenario.end()
            else:
                scenario.step(words)


if __name__ == "__main__":
    main(*sys.argv[1:])
