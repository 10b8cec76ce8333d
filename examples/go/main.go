// Publishes orders and handles them in four goroutines.
//
//	KAFKA_BROKERS=localhost:9092 KAFKA_GROUP_ID=billing go run . order.placed 10
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"

	"example/evbus"
)

func main() {
	eventType, count := "order.placed", 10
	if len(os.Args) > 2 {
		eventType = os.Args[1]
		count, _ = strconv.Atoi(os.Args[2])
	}
	bus, err := evbus.Connect(map[string]string{"clientId": "example-go", "kafka.fetch.wait.max.ms": "50"})
	if err != nil {
		log.Fatal(err)
	}
	handled := make(chan evbus.Event)
	err = bus.Subscribe(eventType, 4, func(event evbus.Event) error {
		handled <- event
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for number := 0; number < count; number++ {
			payload := fmt.Sprintf(`{"number":%d}`, number)
			if _, _, err := bus.Publish(eventType, fmt.Sprintf("order-%d", number%3), []byte(payload)); err != nil {
				log.Fatal(err)
			}
		}
	}()
	for n := 0; n < count; n++ {
		event := <-handled
		fmt.Println(event.AggregateID, string(event.Payload))
	}
	if err := bus.Close(); err != nil {
		log.Fatal(err)
	}
}
