"""evbus for Python: a small typed module over libevbus, with ctypes alone.

    with Bus({"brokers": "localhost:9092", "clientId": "orders", "groupId": "billing"}) as bus:
        bus.publish("order.placed", "order-42", {"total": 129.95})
        async for event in bus.subscribe("order.placed"):
            print(event.payload)
            event.ack()
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from ctypes import POINTER, byref, c_bool, c_char_p, c_int32, c_int64, c_size_t, c_void_p
from types import TracebackType
from typing import Any

ABI_VERSION = 1
VERSION_NUMBER = 20000
OK = 0
CLOSED = 3
RETRY = 1
FATAL = 5
LETTER_FIELDS = ("partition", "offset", "eventId", "reason", "attempts", "errorCode", "errorMessage", "replays")


class _View(ctypes.Structure):
    """evbus_str and evbus_bytes."""

    _fields_ = [("data", c_void_p), ("len", c_size_t)]

    def bytes(self) -> bytes | None:
        return None if self.data is None else ctypes.string_at(self.data, self.len)


_lib = ctypes.CDLL(os.environ.get("EVBUS_LIBRARY", "libevbus.so.1"))


def _declare(name: str, result: Any, *arguments: Any) -> None:
    function = getattr(_lib, name)
    function.restype, function.argtypes = result, arguments


_error = POINTER(c_void_p)
for _name, _arguments in {
    "evbus_abi_check": (c_int32, c_int32),
    "evbus_config_set": (c_void_p, c_char_p, c_char_p),
    "evbus_config_from_env": (c_void_p,),
    "evbus_bus_connect": (c_void_p, POINTER(c_void_p)),
    "evbus_bus_close": (c_void_p, c_int64, POINTER(c_void_p)),
    "evbus_bus_publish": (c_void_p, c_void_p, c_int64, POINTER(c_int32), POINTER(c_int64)),
    "evbus_bus_subscribe_pull_with": (c_void_p, c_char_p, c_void_p, POINTER(c_void_p)),
    "evbus_bus_dead_letters": (c_void_p, c_char_p, c_void_p, POINTER(c_void_p)),
    "evbus_bus_replay_dead_letters": (c_void_p, c_char_p, c_void_p, POINTER(c_void_p)),
    "evbus_subscription_options_set": (c_void_p, c_char_p, c_char_p),
    "evbus_dead_letter_options_set": (c_void_p, c_char_p, c_char_p),
    "evbus_event_new": (c_char_p, c_char_p, c_char_p, POINTER(c_void_p)),
    "evbus_event_set_id": (c_void_p, c_char_p),
    "evbus_event_set_version": (c_void_p, c_int64),
    "evbus_event_set_occurred_on": (c_void_p, c_int64),
    "evbus_subscription_fd": (c_void_p, POINTER(c_int32)),
    "evbus_subscription_poll": (c_void_p, c_int64, POINTER(c_void_p)),
    "evbus_subscription_unsubscribe": (c_void_p, c_int64),
    "evbus_delivery_ack": (c_void_p,),
    "evbus_delivery_fail": (c_void_p, c_int32, c_char_p, c_char_p, POINTER(c_bool)),
}.items():
    _declare(_name, c_int32, *_arguments, _error)
for _name in ("config", "event", "bus", "subscription", "error", "dead_letters", "replay_report"):
    _declare(f"evbus_{_name}_free", None, c_void_p)
for _name in ("subscription", "dead_letter"):
    _declare(f"evbus_{_name}_options_new", c_void_p)
    _declare(f"evbus_{_name}_options_free", None, c_void_p)
_declare("evbus_dead_letters_count", c_size_t, c_void_p)
_declare("evbus_dead_letters_field", c_char_p, c_void_p, c_size_t, c_char_p)
_declare("evbus_replay_report_json", c_char_p, c_void_p)
_declare("evbus_delivery_release", None, c_void_p)
_declare("evbus_config_new", c_void_p)
_declare("evbus_error_code", c_int32, c_void_p)
_declare("evbus_error_report", c_char_p, c_void_p)
_declare("evbus_error_retryable", c_bool, c_void_p)
_declare("evbus_error_outcome", c_int32, c_void_p)
_declare("evbus_delivery_partition", c_int32, c_void_p)
_declare("evbus_delivery_offset", c_int64, c_void_p)
_declare("evbus_delivery_attempt", c_int32, c_void_p)
_declare("evbus_delivery_version", c_int64, c_void_p)
_declare("evbus_delivery_occurred_on", c_bool, c_void_p, POINTER(c_int64))
for _name in ("topic", "event_id", "event_type", "aggregate_id", "payload", "key", "value"):
    _declare(f"evbus_delivery_{_name}", _View, c_void_p)


class EventBusError(Exception):
    """Why a call failed; `code` is one of EVBUS_ERR_*."""

    def __init__(self, code: int, report: str, retryable: bool, not_sent: bool) -> None:
        super().__init__(report)
        self.code = code
        self.retryable = retryable
        self.not_sent = not_sent


def _call(name: str, *arguments: Any) -> None:
    error = c_void_p()
    code = getattr(_lib, name)(*arguments, byref(error))
    if code == OK:
        return
    try:
        report = _lib.evbus_error_report(error).decode()
        raise EventBusError(code, report, _lib.evbus_error_retryable(error), _lib.evbus_error_outcome(error) == 1)
    finally:
        _lib.evbus_error_free(error)


@contextmanager
def _options(kind: str, values: Mapping[str, str] | None) -> Iterator[c_void_p]:
    """Options of a subscription or for dead letters, from their names."""
    options = c_void_p(getattr(_lib, f"evbus_{kind}_options_new")())
    try:
        for key, value in (values or {}).items():
            _call(f"evbus_{kind}_options_set", options, key.encode(), value.encode())
        yield options
    finally:
        getattr(_lib, f"evbus_{kind}_options_free")(options)


class Event:
    """A received event. Acknowledge it, or it is tried again when it goes."""

    def __init__(self, handle: c_void_p) -> None:
        self._handle = handle

    def __del__(self) -> None:
        _lib.evbus_delivery_release(self._handle)

    def _text(self, name: str) -> str:
        return (getattr(_lib, f"evbus_delivery_{name}")(self._handle).bytes() or b"").decode()

    @property
    def event_id(self) -> str:
        return self._text("event_id")

    @property
    def event_type(self) -> str:
        return self._text("event_type")

    @property
    def version(self) -> int:
        return _lib.evbus_delivery_version(self._handle)

    @property
    def occurred_on(self) -> int | None:
        """Milliseconds since the Unix epoch, where the event says it."""
        time = c_int64()
        return time.value if _lib.evbus_delivery_occurred_on(self._handle, byref(time)) else None

    @property
    def attempt(self) -> int:
        return _lib.evbus_delivery_attempt(self._handle)

    @property
    def aggregate_id(self) -> str:
        return self._text("aggregate_id")

    @property
    def payload(self) -> Any:
        return json.loads(self._text("payload"))

    @property
    def value(self) -> bytes | None:
        return _lib.evbus_delivery_value(self._handle).bytes()

    @property
    def position(self) -> tuple[int, int]:
        """Partition and offset."""
        return _lib.evbus_delivery_partition(self._handle), _lib.evbus_delivery_offset(self._handle)

    def ack(self) -> None:
        _call("evbus_delivery_ack", self._handle)

    def fail(self, reason: str, code: str | None = None, fatal: bool = False) -> None:
        """It is tried again, or with `fatal` given up at once; the code goes into the dead letter."""
        name = None if code is None else code.encode()
        _call("evbus_delivery_fail", self._handle, FATAL if fatal else RETRY, name, reason.encode(), None)


class Subscription:
    """Events of one type, for `async for`: the event loop waits on the descriptor of the subscription."""

    def __init__(self, handle: c_void_p) -> None:
        self._handle = handle
        descriptor = c_int32()
        _call("evbus_subscription_fd", handle, byref(descriptor))
        self._fd = descriptor.value

    def __del__(self) -> None:
        _lib.evbus_subscription_free(self._handle)

    def poll(self, timeout_ms: int = 0) -> Event | None:
        """The next event, or None when there is none in time; -1 waits for ever, and blocks the thread."""
        delivery = c_void_p()
        _call("evbus_subscription_poll", self._handle, timeout_ms, byref(delivery))
        return Event(delivery) if delivery.value is not None else None

    async def __aiter__(self) -> AsyncIterator[Event]:
        loop = asyncio.get_running_loop()
        while True:
            try:
                event = self.poll()
            except EventBusError as error:
                if error.code == CLOSED:
                    return
                raise
            if event is not None:
                yield event
                continue
            readable = asyncio.Event()
            loop.add_reader(self._fd, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(self._fd)


class Bus:
    """A connected bus. Options are those of the README; brokers, client and group also come from the environment."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._handle = c_void_p()
        _call("evbus_abi_check", ABI_VERSION, VERSION_NUMBER)
        config = c_void_p(_lib.evbus_config_new())
        try:
            for key, value in options.items():
                _call("evbus_config_set", config, key.encode(), value.encode())
            _call("evbus_config_from_env", config)
            _call("evbus_bus_connect", config, byref(self._handle))
        finally:
            _lib.evbus_config_free(config)

    def publish(
        self,
        event_type: str,
        aggregate_id: str,
        payload: Any,
        timeout_ms: int = -1,
        *,
        event_id: str | None = None,
        version: int = 1,
        occurred_on: int | None = None,
    ) -> tuple[int, int]:
        """Waits until the event is stored; gives partition and offset. Other threads run meanwhile."""
        event, partition, offset = c_void_p(), c_int32(), c_int64()
        text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
        _call("evbus_event_new", event_type.encode(), aggregate_id.encode(), text.encode(), byref(event))
        try:
            _call("evbus_event_set_version", event, version)
            if event_id is not None:
                _call("evbus_event_set_id", event, event_id.encode())
            if occurred_on is not None:
                _call("evbus_event_set_occurred_on", event, occurred_on)
            _call("evbus_bus_publish", self._handle, event, timeout_ms, byref(partition), byref(offset))
        finally:
            _lib.evbus_event_free(event)
        return partition.value, offset.value

    def subscribe(self, event_type: str, options: Mapping[str, str] | None = None) -> Subscription:
        subscription = c_void_p()
        with _options("subscription", options) as wanted:
            _call("evbus_bus_subscribe_pull_with", self._handle, event_type.encode(), wanted, byref(subscription))
        return Subscription(subscription)

    def dead_letters(self, event_type: str, options: Mapping[str, str] | None = None) -> list[dict[str, str]]:
        """What is known of the letters of a type, by the names of evbus_dead_letters_field."""
        letters = c_void_p()
        with _options("dead_letter", options) as wanted:
            _call("evbus_bus_dead_letters", self._handle, event_type.encode(), wanted, byref(letters))
        try:
            found = []
            for index in range(_lib.evbus_dead_letters_count(letters)):
                fields = {name: _lib.evbus_dead_letters_field(letters, index, name.encode()) for name in LETTER_FIELDS}
                found.append({name: text.decode() for name, text in fields.items() if text is not None})
            return found
        finally:
            _lib.evbus_dead_letters_free(letters)

    def replay_dead_letters(self, event_type: str, options: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Sends letters back to where they came from; gives the report."""
        report = c_void_p()
        with _options("dead_letter", options) as wanted:
            _call("evbus_bus_replay_dead_letters", self._handle, event_type.encode(), wanted, byref(report))
        try:
            return json.loads(_lib.evbus_replay_report_json(report))
        finally:
            _lib.evbus_replay_report_free(report)

    def close(self, timeout_ms: int = -1) -> None:
        if self._handle.value is None:
            return
        try:
            _call("evbus_bus_close", self._handle, timeout_ms, None)
        finally:
            _lib.evbus_bus_free(self._handle)
            self._handle = c_void_p()

    def __enter__(self) -> Bus:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
