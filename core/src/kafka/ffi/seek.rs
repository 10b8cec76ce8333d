//! Fetching anew.

use rdkafka::bindings as rd;

use super::{Client, Failure, Partitions};

impl Client {
    /// Fetches assigned partitions from these offsets on. Does not wait until the client does.
    pub(crate) fn seek(&self, offsets: &Partitions) -> Result<(), Failure> {
        // SAFETY: `rk` and the list are live; without a time to wait the list is read and not kept.
        Failure::take(unsafe { rd::rd_kafka_seek_partitions(self.raw(), offsets.0.as_ptr(), 0) })
    }
}
