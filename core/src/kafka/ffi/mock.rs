//! The mock cluster.

use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::bindings as rd;

use super::{Client, Failure, Refused, Role, c_string, milliseconds, text};

/// librdkafka's mock cluster; it lives in threads of `owner`.
pub(crate) struct MockCluster {
    cluster: NonNull<rd::rd_kafka_mock_cluster_t>,
    owner: Client,
}

// SAFETY: every call takes the cluster's own lock or sends it a message.
unsafe impl Send for MockCluster {}
// SAFETY: as above.
unsafe impl Sync for MockCluster {}

impl MockCluster {
    pub(crate) fn new(brokers: i32) -> Result<MockCluster, Refused> {
        let quiet = [("log_level", "0"), ("log.queue", "true")].map(|(name, value)| (name.into(), value.into()));
        let owner = Client::new(Role::Producer, &quiet, None)?;
        // SAFETY: `owner` is live and outlives the cluster.
        let cluster = NonNull::new(unsafe { rd::rd_kafka_mock_cluster_new(owner.raw(), brokers) });
        let cluster =
            cluster.ok_or_else(|| Refused { property: None, reason: "no listener could be opened".into() })?;
        // SAFETY: live. A group's first member should not wait three seconds for others.
        unsafe { rd::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster.as_ptr(), 0) };
        Ok(MockCluster { cluster, owner })
    }

    pub(crate) fn bootstrap(&self) -> String {
        // SAFETY: live; the text is copied.
        unsafe { text(rd::rd_kafka_mock_cluster_bootstraps(self.cluster.as_ptr())) }.to_owned()
    }

    pub(crate) fn create_topic(&self, name: &str, partitions: i32, replicas: i32) -> Result<(), Failure> {
        let name = c_string(name)?;
        // SAFETY: live; the name is copied.
        let code = unsafe {
            rd::rd_kafka_mock_topic_create(self.cluster.as_ptr(), name.as_ptr(), partitions, replicas) as i32
        };
        Failure::check(code)
    }

    pub(crate) fn set_up(&self, broker: i32, up: bool) -> Result<(), Failure> {
        // SAFETY: live.
        let code = unsafe {
            if up {
                rd::rd_kafka_mock_broker_set_up(self.cluster.as_ptr(), broker)
            } else {
                rd::rd_kafka_mock_broker_set_down(self.cluster.as_ptr(), broker)
            }
        };
        Failure::check(code as i32)
    }

    pub(crate) fn set_round_trip(&self, broker: i32, time: Duration) -> Result<(), Failure> {
        // SAFETY: live.
        let code = unsafe { rd::rd_kafka_mock_broker_set_rtt(self.cluster.as_ptr(), broker, milliseconds(time)) };
        Failure::check(code as i32)
    }

    /// The next requests of a kind fail with these numbers, one each.
    pub(crate) fn push_request_errors(&self, api_key: i16, codes: &[i32]) {
        type Push = unsafe extern "C" fn(*mut rd::rd_kafka_mock_cluster_t, i16, usize, *const i32);
        type Bound = unsafe extern "C" fn(*mut rd::rd_kafka_mock_cluster_t, i16, usize, *const rd::rd_kafka_resp_err_t);
        // SAFETY: the enum is `repr(i32)`, so both types have one ABI; the numbers are copied.
        unsafe {
            let push = std::mem::transmute::<Bound, Push>(rd::rd_kafka_mock_push_request_errors_array);
            push(self.cluster.as_ptr(), api_key, codes.len(), codes.as_ptr());
        }
    }
}

impl Drop for MockCluster {
    fn drop(&mut self) {
        let _ = &self.owner;
        // SAFETY: owned; `owner` is dropped after it.
        unsafe { rd::rd_kafka_mock_cluster_destroy(self.cluster.as_ptr()) }
    }
}
