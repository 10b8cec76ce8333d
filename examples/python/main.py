"""Publishes orders and handles them in an event loop.

KAFKA_BROKERS=localhost:9092 KAFKA_GROUP_ID=billing python3 main.py order.placed 10
"""

import asyncio
import sys

from evbus import Bus


async def main(event_type: str, count: int) -> None:
    with Bus({"clientId": "example-python", "kafka.fetch.wait.max.ms": "50"}) as bus:
        events = bus.subscribe(event_type)
        for number in range(count):
            # A thread waits for the broker, so that the loop goes on.
            await asyncio.to_thread(bus.publish, event_type, "order-1", {"number": number})
        async for event in events:
            print(event.aggregate_id, event.payload)
            event.ack()
            if event.payload["number"] == count - 1:
                break


if __name__ == "__main__":
    topic = sys.argv[1] if len(sys.argv) > 1 else "order.placed"
    asyncio.run(main(topic, int(sys.argv[2]) if len(sys.argv) > 2 else 10))
