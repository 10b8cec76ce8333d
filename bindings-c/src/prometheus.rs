//! Metrics in Prometheus' text format.

use std::fmt::Write;

use event_bus::Metrics;

/// The metrics as a page that Prometheus scrapes.
pub(crate) fn text(metrics: &Metrics) -> String {
    let mut page = Page(String::with_capacity(4096));
    let (publish, consume) = (&metrics.publish, &metrics.consume);
    page.gauge(
        "connected",
        "Whether a broker can be reached and publishes make progress.",
        u64::from(metrics.connected),
    );
    page.counter("connections_lost", "How often the connection was lost.", metrics.connections_lost);
    page.counter("clients_rebuilt", "Kafka clients that gave up and were replaced.", metrics.clients_rebuilt);
    page.counter("publish_acknowledged", "Records that the brokers acknowledged.", publish.acknowledged);
    page.counter("publish_failed", "Publishes that failed.", publish.failed);
    page.gauge("publish_in_flight", "Records handed to the client and not yet completed.", publish.in_flight);
    page.counter("consume_received", "Records received.", consume.received);
    page.counter("consume_handled", "Events whose handlers all succeeded.", consume.handled);
    page.counter("consume_failed", "Attempts of which a handler failed.", consume.failed);
    page.counter("consume_retries", "Attempts after an event's first one.", consume.retries);
    page.counter("consume_dead_lettered", "Records that were put into a dead-letter topic.", consume.dead_lettered);
    page.counter("consume_skipped", "Events that were passed over.", consume.skipped);
    page.counter("consume_invalid", "Records that are not events.", consume.invalid);
    page.counter(
        "consume_handled_after_revoke",
        "Handler results that came after their partition had gone to another member.",
        consume.handled_after_revoke,
    );
    page.gauge("consume_in_flight", "Events handed to handlers and not yet finished.", consume.in_flight);
    page.gauge("consume_in_flight_bytes", "Bytes of received records that are not finished.", consume.in_flight_bytes);
    page.counter("consume_rebalances", "Assignments and revocations of partitions.", consume.rebalances);
    page.counter("consume_commit_failures", "Commits that failed; they are tried again.", consume.commit_failures);
    page.gauge("consume_paused_partitions", "Partitions that are paused.", consume.paused_partitions);
    page.gauge("consume_halted_partitions", "Partitions that stand still by policy.", consume.halted_partitions);
    page.gauge("consume_stalled_partitions", "Partitions that have records and get none.", consume.stalled_partitions);
    page.counter("consume_stalls", "How often a partition began to have records and get none.", consume.stalls);
    page.gauge(
        "consume_dead_letters_pending",
        "Records on their way to a dead-letter topic.",
        consume.dead_letters_pending,
    );
    page.counter(
        "consume_offset_resets",
        "Partitions that went on from another offset because theirs was gone.",
        consume.offset_resets,
    );
    page.head("consume_lag", "gauge", "Records between the first unfinished one and the end of a partition.");
    for lag in &consume.lag {
        // A topic's name has no character that would need escaping.
        page.line("consume_lag", &format!("{{topic=\"{}\",partition=\"{}\"}}", lag.topic, lag.partition), lag.lag);
    }
    page.head("errors_total", "counter", "Failures by the code of their kind.");
    for (code, count) in &metrics.errors {
        page.line("errors_total", &format!("{{code=\"{code}\"}}"), count);
    }
    page.head("processing_time_seconds", "histogram", "How long handlers took.");
    let mut seen = 0;
    for (bound, count) in &consume.processing_time.buckets {
        seen += count;
        let bound = bound.map_or("+Inf".to_owned(), |bound| bound.to_string());
        page.line("processing_time_seconds_bucket", &format!("{{le=\"{bound}\"}}"), seen);
    }
    page.line("processing_time_seconds_sum", "", consume.processing_time.sum);
    page.line("processing_time_seconds_count", "", consume.processing_time.count);
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a text cannot fail.
        let _ = writeln!(self.0, "# HELP evbus_{name} {help}\n# TYPE evbus_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "evbus_{name}{labels} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        self.line(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let name = format!("{name}_total");
        self.head(&name, "counter", help);
        self.line(&name, "", value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use event_bus::PartitionLag;

    #[test]
    fn a_page_has_help_type_and_value_of_each() {
        let mut metrics = Metrics { connected: true, ..Metrics::default() };
        metrics.publish.acknowledged = 7;
        metrics.consume.lag.push(PartitionLag { topic: "order.placed".into(), partition: 2, lag: 5 });
        metrics.errors.insert("EVBUS_TIMEOUT", 3);
        metrics.consume.processing_time.buckets = vec![(Some(0.5), 2), (None, 1)];
        metrics.consume.processing_time.count = 3;
        let page = text(&metrics);
        for line in [
            "# TYPE evbus_publish_acknowledged_total counter",
            "evbus_publish_acknowledged_total 7",
            "evbus_connected 1",
            "evbus_consume_lag{topic=\"order.placed\",partition=\"2\"} 5",
            "evbus_errors_total{code=\"EVBUS_TIMEOUT\"} 3",
            "evbus_processing_time_seconds_bucket{le=\"0.5\"} 2",
            "evbus_processing_time_seconds_bucket{le=\"+Inf\"} 3",
            "evbus_processing_time_seconds_count 3",
        ] {
            assert!(page.lines().any(|other| other == line), "{line} is missing in\n{page}");
        }
    }
}
