//! What the bus needs of a cluster: four traits, implemented by the Kafka client and by memory.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::event::{Delivery, OutgoingRecord, RawRecord, Record, TopicPartition};

/// An outstanding publish: generation (24 bits), sink (8), slot (32).
///
/// It travels through the client library as the message's opaque and allocates nothing. The generation is that
/// of the client instance, so that a late report of a discarded client never confirms a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

impl Token {
    /// Packs the three parts; the generation keeps its lower 24 bits.
    pub const fn new(generation: u32, sink: u8, slot: u32) -> Self {
        Token((generation as u64 & 0xff_ffff) << 40 | (sink as u64) << 32 | slot as u64)
    }

    /// The client instance's number, 24 bits.
    pub const fn generation(self) -> u32 {
        (self.0 >> 40) as u32
    }

    /// Which sink waits for the completion.
    pub const fn sink(self) -> u8 {
        (self.0 >> 32) as u8
    }

    /// Which of the sink's publishes it is.
    pub const fn slot(self) -> u32 {
        self.0 as u32
    }
}

/// The end of one publish.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Which publish it was.
    pub token: Token,
    /// Where the record was stored.
    pub partition: i32,
    /// Its offset, or −1 where it is unknown.
    pub offset: i64,
    /// Why it failed; `None` when the record is stored.
    pub error: Option<Error>,
}

/// Takes the ends of publishes.
pub trait CompletionSink: Send + Sync {
    /// Runs on: delivery thread. Called once per batch of delivery reports; must not block.
    fn complete(&self, completions: &[Completion]);
}

/// Where a published record was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The partition, from 0.
    pub partition: i32,
    /// The offset in the partition, or −1 where the broker did not tell.
    pub offset: i64,
}

/// Learns how a publish ended.
pub type Published = Box<dyn FnOnce(Result<Receipt>) + Send>;

/// Publishes records as they are: what one half of the bus does for others.
pub trait RecordPublisher: Send + Sync {
    /// Runs on: any. Hands a record on and returns at once. The record may be one and a half times as large as
    /// others, because whoever hands on a record adds headers to it.
    ///
    /// `done` is called once, on the delivery thread or, for what is refused at once, before this returns; it must
    /// not block. It is dropped without a call when the bus ends before the publish does.
    fn publish_record(&self, record: &RawRecord<'_>, done: Published);
}

/// Takes records for their handlers.
pub trait RecordSink: Send + Sync {
    /// Runs on: poll thread. Takes a run of deliveries of one lane, in their order, to be handled one after the
    /// other; must not block. Every delivery is answered once through `Intake::finish`. When one is answered
    /// `Failed`, none behind it in the run may start: they are answered `Released` and come again behind it.
    fn deliver(&self, run: Vec<Delivery>);

    /// Runs on: poll thread. The partition of that slot is about to go to another member, or the bus drains:
    /// deliveries of this slot and of this or an earlier epoch that have not started must not start; they are
    /// answered `Released`. Epochs wrap.
    fn stop(&self, slot: u16, epoch: u16);

    /// Runs on: poll thread. Nobody waits for the handlers of that slot and epoch any more: the partition is gone, or
    /// the bus ends. Those that run should give up. Follows [`RecordSink::stop`].
    fn abort(&self, slot: u16, epoch: u16);

    /// Runs on: poll thread. Answers that the sink has gathered, to give them together, are to be given now. Called at
    /// least every 100 ms, so that none waits for a slow handler behind it; must not block.
    fn flush(&self) {}
}

/// What became of a record that was offered to the client's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It was copied and will be completed through the sink.
    Yes,
    /// The queue is full; nothing was taken, try again after some completions.
    QueueFull,
}

/// Which brokers can be reached, by the latest that the client knows.
#[derive(Clone, Debug, Default)]
pub struct Connectivity {
    /// Brokers with an open, authenticated connection; the more of the client's last two reports.
    pub brokers_up: usize,
    /// Brokers that are known.
    pub brokers_known: usize,
    /// When the client last told; `None` before the first time.
    pub observed_at: Option<Instant>,
    /// The latest connection error: address, reason, what to check.
    pub last_error: Option<Error>,
    /// Clients that gave up for good and were replaced.
    pub rebuilt: u32,
    /// The client gave up for good, and no other has taken its place yet.
    pub ended: bool,
}

/// Asks whether a waiting caller has given up.
pub type Cancelled<'a> = &'a (dyn Fn() -> bool + Sync);

/// A cluster: the producing half, topics, and the door to the consuming half.
pub trait Transport: Send + Sync {
    /// Blocks until a broker answered.
    ///
    /// # Errors
    /// `Unavailable` at the deadline, naming the addresses dialled, the reason and what to check; `Auth` as soon
    /// as the credentials or the TLS handshake are refused; `Closed` when `cancelled` says so.
    fn connect(&self, deadline: Instant, cancelled: Cancelled<'_>) -> Result<()>;

    /// Copies the record into the client's queue. Never blocks.
    ///
    /// # Errors
    /// With the record certainly not sent: `TooLarge`, `Argument`, `UnknownTopic`, `Closed`, `Fenced`, ….
    fn send(&self, record: &OutgoingRecord<'_>, token: Token) -> Result<Enqueued>;

    /// As [`Transport::send`], for a record that was read before and has got further headers: it may be one and a
    /// half times as large.
    ///
    /// # Errors
    /// As [`Transport::send`].
    fn send_on(&self, record: &OutgoingRecord<'_>, token: Token) -> Result<Enqueued>;

    /// Runs on: delivery thread. Serves delivery reports, statistics, logs and errors of the client; waits up to
    /// `wait` for the first and returns after it, completions handed to `sink` batch by batch.
    fn poll(&self, wait: Duration, sink: &dyn CompletionSink);

    /// Lets a `poll` that waits return soon. Any thread.
    fn wake(&self);

    /// Gives up what is queued or in flight: each is completed as failed, `not_sent` or `unknown`.
    fn purge(&self);

    /// Makes sure that the topics exist, creating missing ones where that is wanted and allowed. Blocks.
    ///
    /// # Errors
    /// One result per topic, in order: `UnknownTopic`, `Rejected`, `Auth`, `Timeout`, ….
    fn ensure_topics(&self, topics: &[Arc<str>], deadline: Instant) -> Vec<Result<()>>;

    /// Makes sure of a topic that takes in records of another one; the number of its partitions. Blocks.
    ///
    /// A missing one is created, where that is wanted and allowed, with as many partitions as the other topic, for
    /// ever, and for records that have grown as [`Transport::send_on`] allows.
    ///
    /// # Errors
    /// As [`Transport::ensure_topics`].
    fn ensure_topic_like(&self, topic: &Arc<str>, like: &Arc<str>, deadline: Instant) -> Result<u32>;

    /// How many partitions a topic has; creates nothing. Blocks.
    ///
    /// # Errors
    /// `UnknownTopic`, `Rejected`, `Timeout`, ….
    fn partitions(&self, topic: &Arc<str>, deadline: Instant) -> Result<u32>;

    /// Reads a topic on behalf of no member of any group, and keeps its progress as offsets of the named group. Its
    /// errors of connections and settings are those of [`Transport::consumer`].
    ///
    /// # Errors
    /// `Config` when the client refuses a setting.
    fn reader(&self, topic: &Arc<str>, group: &str) -> Result<Box<dyn TopicReader>>;

    /// What the client knows about its connections. Cheap; any thread.
    fn connectivity(&self) -> Connectivity;

    /// A consumer of the configured group. It owns no thread: the caller polls it.
    ///
    /// # Errors
    /// `Config` when the client refuses a setting.
    fn consumer(&self, wake: Arc<dyn Fn() + Send + Sync>) -> Result<Box<dyn Consumer>>;

    /// Ends the producing client as an error that it cannot recover from does, for tests.
    #[cfg(feature = "embedded")]
    fn provoke_fatal_error(&self) {}

    /// Releases the client. May block; the caller runs it on a thread that may be left behind.
    fn close(&self);
}

/// What a poll of a consumer brought.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// A record.
    Record(Arc<Record>),
    /// The group gave these partitions to this member; answer with [`Consumer::assign`].
    Assigned(Vec<TopicPartition>),
    /// The group takes these back; answer with [`Consumer::unassign`] when their handlers are done.
    Revoked(Vec<TopicPartition>),
    /// These are gone already: another member may have them. Nothing of them may be committed.
    /// Answer with [`Consumer::unassign`].
    Lost(Vec<TopicPartition>),
    /// The client has nowhere to start in this partition: its offset is not in the log any more, or the group has
    /// stored none. It is not fetched until [`Consumer::seek`] says from where.
    OutOfRange(TopicPartition),
    /// Something failed that the client goes on from by itself.
    Failed(Error),
    /// The client cannot be used any more.
    Fatal(Error),
}

/// A member of a consumer group, owned by one poll thread.
pub trait Consumer: Send {
    /// Replaces the set of topics; an empty one leaves the group. Rejoins the group, so call it only for changes.
    ///
    /// # Errors
    /// `Argument` for an illegal name, `Internal` when the client refuses.
    fn subscribe(&mut self, topics: &[Arc<str>]) -> Result<()>;

    /// The next event, or `None` when nothing is pending. Never blocks. An event may be followed by others:
    /// poll until `None` came twice in a row.
    fn poll(&mut self) -> Option<ConsumerEvent>;

    /// Starts fetching the partitions that [`ConsumerEvent::Assigned`] named, all in one call, each from an offset
    /// or, without one, where the group left off.
    ///
    /// # Errors
    /// `IllegalState` when the assignment changed meanwhile.
    fn assign(&mut self, partitions: &[(TopicPartition, Option<i64>)]) -> Result<()>;

    /// Goes on fetching assigned partitions from other offsets; records from before do not come any more. To be
    /// called only while no rebalance waits for its answer.
    ///
    /// # Errors
    /// `IllegalState` when a partition is not assigned, or the assignment changed meanwhile.
    fn seek(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<()>;

    /// Fetches assigned partitions anew, from where they are: less than [`Consumer::seek`], which does not trust what
    /// the client knows of them. To be called only while no rebalance waits for its answer.
    ///
    /// # Errors
    /// `IllegalState` when a partition is not assigned, or the assignment changed meanwhile.
    fn refetch(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<()>;

    /// Hands the partitions over.
    ///
    /// # Errors
    /// `IllegalState` when the assignment changed meanwhile.
    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Stops fetching; what is prefetched of them is thrown away and fetched again after resume.
    ///
    /// # Errors
    /// `IllegalState` when a partition is not assigned.
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Goes on fetching behind the last record handed out.
    ///
    /// # Errors
    /// `IllegalState` when a partition is not assigned.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// The part that other threads may use while this one polls.
    fn offsets(&self) -> Arc<dyn GroupOffsets>;

    /// Ends the client as an error that it cannot recover from does, for tests.
    #[cfg(feature = "embedded")]
    fn provoke_fatal_error(&self) {}

    /// Leaves the group and releases the client. May block without bound; the caller runs it on a thread that
    /// may be left behind.
    fn close(self: Box<Self>);
}

/// A place in a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogPosition {
    /// The oldest record.
    Beginning,
    /// Behind the newest record.
    End,
    /// The first record with this timestamp, in milliseconds since the Unix epoch, or a later one.
    Timestamp(i64),
}

/// What is tried when a partition stands still, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// Its records are fetched anew from where it is.
    Seek,
    /// It is taken from the client and given back.
    Reassign,
    /// The client is replaced, and all partitions of this member with it.
    NewClient,
}

impl Remedy {
    /// `seek`, `reassign` or `new_client`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Remedy::Seek => "seek",
            Remedy::Reassign => "reassign",
            Remedy::NewClient => "new_client",
        }
    }
}

/// How far a partition is fetched, and how far it could be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The offset that the client fetches next, where it says so. It is behind what it has handed out when there are
    /// offsets without a record for anyone, as transactions leave them.
    pub fetched: Option<i64>,
    /// The offset behind the last one that can be read, as the leader says; `None` where it did not answer.
    pub end: Option<i64>,
}

/// What a group has stored for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next record to be handled.
    pub offset: i64,
    /// It is where the group began by [`GroupOffsets::commit_starts`], and nothing was handled since.
    pub is_start: bool,
}

/// Offsets of the consumer's group, usable while the poll thread polls.
pub trait GroupOffsets: Send + Sync {
    /// Runs on: committer thread. Stores, per partition, the offset of the next record to be handled. Blocks
    /// until the coordinator answered.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`, `IllegalState` (the group has a new generation), `Fenced`.
    fn commit(&self, offsets: &[(TopicPartition, i64)]) -> Result<()>;

    /// Runs on: lookup thread. Stores where the group begins, marked as such. Blocks as [`GroupOffsets::commit`].
    ///
    /// # Errors
    /// As [`GroupOffsets::commit`].
    fn commit_starts(&self, offsets: &[(TopicPartition, i64)]) -> Result<()>;

    /// Runs on: lookup thread. What the group has stored, one entry per partition; blocks until the deadline at most.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`, ….
    fn committed(&self, partitions: &[TopicPartition], deadline: Instant) -> Result<Vec<Option<Committed>>>;

    /// Runs on: lookup thread. The offsets of places, one for each of some partitions: `None` where its leader did
    /// not answer, −1 where no record has the timestamp or a later one. Blocks until the deadline at most.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`, ….
    fn log_offsets(&self, places: &[(TopicPartition, LogPosition)], deadline: Instant) -> Result<Vec<Option<i64>>>;

    /// Runs on: lookup thread. How many partitions a topic has; blocks until the deadline at most.
    ///
    /// # Errors
    /// `UnknownTopic`, `Unavailable`, `Timeout`, ….
    fn partitions_of(&self, topic: &str, deadline: Instant) -> Result<i32>;

    /// Runs on: lookup thread. How far partitions are, one answer for each: the leaders are asked, as a client that does
    /// not fetch does not know where the log ends. Blocks until the deadline at most.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`, ….
    fn progress(&self, partitions: &[TopicPartition], deadline: Instant) -> Result<Vec<Progress>>;

    /// The offset behind the newest record of each assigned partition, where the client knows it. Cheap.
    fn high_watermarks(&self) -> Vec<(TopicPartition, i64)>;

    /// What the consumer's client knows about its connections. Cheap.
    fn connectivity(&self) -> Connectivity;
}

/// Which offsets of a partition hold records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The partition.
    pub partition: i32,
    /// The offset of the oldest record, which is the end when there is none.
    pub start: i64,
    /// The offset that the next record gets.
    pub end: i64,
}

/// What a reader found.
#[derive(Debug)]
pub enum Found {
    /// A record.
    Record(Record),
    /// Nothing lies behind what was read of this partition, for now.
    End(i32),
    /// Nothing came in the time given.
    Nothing,
}

/// Reads the partitions of one topic, owned by one thread. Every call blocks for at most the time it is given.
pub trait TopicReader: Send {
    /// The partitions of the topic and what they hold.
    ///
    /// # Errors
    /// `UnknownTopic`, `Unavailable`, `Timeout`, ….
    fn extents(&mut self, deadline: Instant) -> Result<Vec<Extent>>;

    /// How far each of these partitions was read, as [`TopicReader::keep_progress`] left it.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`, `Rejected`, ….
    fn progress(&mut self, partitions: &[i32], deadline: Instant) -> Result<Vec<Option<i64>>>;

    /// Keeps, per partition, the offset to go on from.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`, `Rejected`, `IllegalState` while the group has members.
    fn keep_progress(&mut self, progress: &[(i32, i64)], deadline: Instant) -> Result<()>;

    /// Reads these partitions from these offsets on, and no others; from the oldest record where an offset is gone.
    ///
    /// # Errors
    /// `Internal` when the client refuses.
    fn read(&mut self, from: &[(i32, i64)]) -> Result<()>;

    /// What comes next, of whichever partition; within a partition in the order of offsets.
    ///
    /// # Errors
    /// `Auth`, `Rejected`, `Fenced`, … what the client does not go on from by itself.
    fn next(&mut self, wait: Duration) -> Result<Found>;
}

impl fmt::Debug for dyn Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}
