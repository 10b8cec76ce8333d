// Package evbus publishes and handles domain events on Kafka, over libevbus.
//
// Events are handled by a pool of goroutines, each of which polls: no Go function is called from C.
package evbus

/*
#cgo pkg-config: evbus
#include <evbus.h>
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"sync"
	"unsafe"
)

// Error says why a call failed.
type Error struct {
	Code      int
	Report    string
	Retryable bool
	// NotSent says of a failed publish that it was certainly not stored.
	NotSent bool
}

func (e *Error) Error() string { return e.Report }

// ErrClosed is what calls give on a bus that is closed or closing, for errors.Is.
var ErrClosed = errors.New("evbus: closed")

func (e *Error) Is(target error) bool { return target == ErrClosed && e.Code == C.EVBUS_ERR_CLOSED }

// must turns a code and its error into a Go error.
func must(code C.int32_t, raw *C.evbus_error) error {
	if code == C.EVBUS_OK {
		return nil
	}
	defer C.evbus_error_free(raw)
	return &Error{
		Code:      int(code),
		Report:    C.GoString(C.evbus_error_report(raw)),
		Retryable: bool(C.evbus_error_retryable(raw)),
		NotSent:   C.evbus_error_outcome(raw) == C.EVBUS_OUTCOME_NOT_SENT,
	}
}

// Bus is a connected event bus; all methods may be called by several goroutines.
type Bus struct {
	raw     *C.evbus_bus
	pollers sync.WaitGroup
}

// Connect connects with the options of the README; brokers, client and group also come from the environment.
func Connect(options map[string]string) (*Bus, error) {
	var raw *C.evbus_error
	if err := must(C.evbus_abi_check(C.EVBUS_ABI_VERSION, C.EVBUS_VERSION_NUMBER, &raw), raw); err != nil {
		return nil, err
	}
	config := C.evbus_config_new()
	defer C.evbus_config_free(config)
	for key, value := range options {
		k, v := C.CString(key), C.CString(value)
		code := C.evbus_config_set(config, k, v, &raw)
		C.free(unsafe.Pointer(k))
		C.free(unsafe.Pointer(v))
		if err := must(code, raw); err != nil {
			return nil, err
		}
	}
	if err := must(C.evbus_config_from_env(config, &raw), raw); err != nil {
		return nil, err
	}
	bus := &Bus{}
	if err := must(C.evbus_bus_connect(config, &bus.raw, &raw), raw); err != nil {
		return nil, err
	}
	return bus, nil
}

// Publish waits until the event is stored, and gives its partition and offset. The payload is JSON.
func (b *Bus) Publish(eventType, aggregateID string, payload []byte) (int32, int64, error) {
	var raw *C.evbus_error
	var event *C.evbus_event
	t, a, p := C.CString(eventType), C.CString(aggregateID), C.CString(string(payload))
	defer C.free(unsafe.Pointer(t))
	defer C.free(unsafe.Pointer(a))
	defer C.free(unsafe.Pointer(p))
	if err := must(C.evbus_event_new(t, a, p, &event, &raw), raw); err != nil {
		return -1, -1, err
	}
	defer C.evbus_event_free(event)
	var partition C.int32_t
	var offset C.int64_t
	if err := must(C.evbus_bus_publish(b.raw, event, -1, &partition, &offset, &raw), raw); err != nil {
		return -1, -1, err
	}
	return int32(partition), int64(offset), nil
}

// Event is a received event, with copies of what it holds.
type Event struct {
	EventID     string
	AggregateID string
	Payload     []byte
	Partition   int32
	Offset      int64
	Attempt     int
}

// Handler handles an event; an error has it tried again as the retry policy says.
type Handler func(Event) error

// Subscribe handles events of a type in a pool of goroutines, events of one partition one after the other.
func (b *Bus) Subscribe(eventType string, goroutines int, handle Handler) error {
	var raw *C.evbus_error
	var subscription *C.evbus_subscription
	t := C.CString(eventType)
	defer C.free(unsafe.Pointer(t))
	if err := must(C.evbus_bus_subscribe_pull(b.raw, t, &subscription, &raw), raw); err != nil {
		return err
	}
	var pool sync.WaitGroup
	pool.Add(goroutines)
	b.pollers.Add(1)
	for n := 0; n < goroutines; n++ {
		go func() {
			defer pool.Done()
			poll(subscription, handle)
		}()
	}
	go func() {
		defer b.pollers.Done()
		pool.Wait()
		C.evbus_subscription_free(subscription)
	}()
	return nil
}

// poll handles events until the bus closes.
func poll(subscription *C.evbus_subscription, handle Handler) {
	for {
		var delivery *C.evbus_delivery
		if C.evbus_subscription_poll(subscription, -1, &delivery, nil) != C.EVBUS_OK {
			return
		}
		if err := handle(read(delivery)); err != nil {
			reason := C.CString(err.Error())
			C.evbus_delivery_retry(delivery, reason, nil)
			C.free(unsafe.Pointer(reason))
		} else {
			C.evbus_delivery_ack(delivery, nil)
		}
		C.evbus_delivery_release(delivery)
	}
}

func read(delivery *C.evbus_delivery) Event {
	text := func(view C.evbus_str) string { return C.GoStringN(view.data, C.int(view.len)) }
	return Event{
		EventID:     text(C.evbus_delivery_event_id(delivery)),
		AggregateID: text(C.evbus_delivery_aggregate_id(delivery)),
		Payload:     []byte(text(C.evbus_delivery_payload(delivery))),
		Partition:   int32(C.evbus_delivery_partition(delivery)),
		Offset:      int64(C.evbus_delivery_offset(delivery)),
		Attempt:     int(C.evbus_delivery_attempt(delivery)),
	}
}

// Close ends the bus within shutdownTimeoutMs and waits for the pools.
func (b *Bus) Close() error {
	var raw *C.evbus_error
	err := must(C.evbus_bus_close(b.raw, -1, nil, &raw), raw)
	b.pollers.Wait()
	C.evbus_bus_free(b.raw)
	return err
}
