//! The publishes of Rust callers: a slot and a channel for each.

use std::sync::Mutex;

use tokio::sync::oneshot;

use super::{Receipt, Room};
use crate::error::{Error, ErrorKind, PublishOutcome, Result};
use crate::runtime::lock;
use crate::transport::{Completion, CompletionSink};

/// Who waits for which slot. A slot is free again only when its publish is completed, so a late report never
/// reaches a stranger.
#[derive(Debug, Default)]
pub(super) struct Futures(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    sender: oneshot::Sender<Result<Receipt>>,
    _room: Room,
}

impl Futures {
    pub(super) fn insert(&self, room: Room) -> Pending {
        let (sender, receiver) = oneshot::channel();
        let slot = Some(Slot { sender, _room: room });
        let mut table = lock(&self.0);
        let number = match table.free.pop() {
            Some(number) => {
                table.slots[number as usize] = slot;
                number
            }
            None => {
                table.slots.push(slot);
                (table.slots.len() - 1) as u32
            }
        };
        Pending { slot: number, receiver }
    }
}

impl CompletionSink for Futures {
    fn complete(&self, completions: &[Completion]) {
        let mut settled = Vec::with_capacity(completions.len());
        let mut table = lock(&self.0);
        for completion in completions {
            let number = completion.token.slot();
            if let Some(slot) = table.slots.get_mut(number as usize).and_then(Option::take) {
                table.free.push(number);
                settled.push((slot, completion));
            }
        }
        drop(table);
        for (slot, completion) in settled {
            let result = match &completion.error {
                None => Ok(Receipt { partition: completion.partition, offset: completion.offset }),
                Some(error) => Err(error.clone()),
            };
            // The caller may have lost interest; the record's fate does not depend on it.
            let _ = slot.sender.send(result);
        }
    }
}

/// A publish on its way.
#[derive(Debug)]
pub(super) struct Pending {
    slot: u32,
    receiver: oneshot::Receiver<Result<Receipt>>,
}

impl Pending {
    pub(super) fn slot(&self) -> u32 {
        self.slot
    }

    /// Waits for the end of the publish.
    pub(super) async fn receipt(self) -> Result<Receipt> {
        self.receiver.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Closed, "the event bus was dropped before the record was acknowledged")
                .outcome(PublishOutcome::Unknown)
                .hint("shut the bus down and await its report before dropping it"))
        })
    }
}
