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
from collections.abc import AsyncIterator, Mapping
from ctypes import POINTER, byref, c_bool, c_char_p, c_int32, c_int64, c_size_t, c_void_p
from types import TracebackType
from typing import Any

ABI_VERSION = 1
VERSION_NUMBER = 20000
OK = 0
CLOSED = 3


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
    "evbus_bus_subscribe_pull": (c_void_p, c_char_p, POINTER(c_void_p)),
    "evbus_event_new": (c_char_p, c_char_p, c_char_p, POINTER(c_void_p)),
    "evbus_subscription_fd": (c_void_p, POINTER(c_int32)),
    "evbus_subscription_poll": (c_void_p, c_int64, POINTER(c_void_p)),
    "evbus_subscription_unsubscribe": (c_void_p, c_int64),
    "evbus_delivery_ack": (c_void_p,),
    "evbus_delivery_retry": (c_void_p, c_char_p),
}.items():
    _declare(_name, c_int32, *_arguments, _error)
for _name in ("config", "event", "bus", "subscription", "error"):
    _declare(f"evbus_{_name}_free", None, c_void_p)
_declare("evbus_delivery_release", None, c_void_p)
_declare("evbus_config_new", c_void_p)
_declare("evbus_error_code", c_int32, c_void_p)
_declare("evbus_error_report", c_char_p, c_void_p)
_declare("evbus_error_retryable", c_bool, c_void_p)
_declare("evbus_error_outcome", c_int32, c_void_p)
_declare("evbus_delivery_partition", c_int32, c_void_p)
_declare("evbus_delivery_offset", c_int64, c_void_p)
for _name in ("topic", "event_id", "aggregate_id", "payload", "key", "value"):
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

    def retry(self, reason: str) -> None:
        _call("evbus_delivery_retry", self._handle, reason.encode())


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

    def publish(self, event_type: str, aggregate_id: str, payload: Any, timeout_ms: int = -1) -> tuple[int, int]:
        """Waits until the event is stored; gives partition and offset. Other threads run meanwhile."""
        event, partition, offset = c_void_p(), c_int32(), c_int64()
        text = json.dumps(payload, separators=(",", ":"))
        _call("evbus_event_new", event_type.encode(), aggregate_id.encode(), text.encode(), byref(event))
        try:
            _call("evbus_bus_publish", self._handle, event, timeout_ms, byref(partition), byref(offset))
        finally:
            _lib.evbus_event_free(event)
        return partition.value, offset.value

    def subscribe(self, event_type: str) -> Subscription:
        subscription = c_void_p()
        _call("evbus_bus_subscribe_pull", self._handle, event_type.encode(), byref(subscription))
        return Subscription(subscription)

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
