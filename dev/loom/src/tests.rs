use std::time::{Duration, Instant};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::inbox::Inbox;
use crate::ring::{Rows, WakeFlag};
use crate::signals::{Gate, Wake};

/// Never comes.
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_raised_wake_ends_the_wait_whoever_raises_it() {
    loom::model(|| {
        let shared = Arc::new((Wake::default(), AtomicUsize::new(0)));
        let raise = |shared: Arc<(Wake, AtomicUsize)>| {
            move || {
                shared.1.fetch_add(1, Ordering::Relaxed);
                shared.0.raise();
            }
        };
        let writers = [thread::spawn(raise(shared.clone())), thread::spawn(raise(shared.clone()))];
        while shared.1.load(Ordering::Relaxed) < 2 {
            shared.0.wait(LONG);
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
}

#[test]
fn an_open_gate_lets_everyone_through() {
    loom::model(|| {
        let gate = Arc::new(Gate::default());
        let through = |gate: Arc<Gate>| move || assert!(gate.wait(Instant::now() + LONG));
        let waiting = [thread::spawn(through(gate.clone())), thread::spawn(through(gate.clone()))];
        gate.open();
        waiting.into_iter().for_each(|one| one.join().unwrap());
        assert!(gate.wait(Instant::now()));
    });
}

#[test]
fn what_is_written_into_an_inbox_is_taken_once_in_order() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::<Vec<u32>>::default());
        let writer = |inbox: Arc<Inbox<Vec<u32>>>, numbers: [u32; 2]| {
            move || {
                for number in numbers {
                    inbox.write(|mail| mail.push(number));
                }
            }
        };
        let other = thread::spawn(writer(inbox.clone(), [1, 2]));
        let mut all = Vec::new();
        while all.len() < 2 {
            let mut mail = Vec::new();
            inbox.take(LONG, &mut mail);
            all.extend(mail);
        }
        assert_eq!(all, [1, 2]);
        other.join().unwrap();
        let mut rest = Vec::new();
        inbox.take(Duration::ZERO, &mut rest);
        assert!(rest.is_empty());
    });
}

#[test]
fn two_writers_of_an_inbox_are_both_read() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::<u32>::default());
        let writer = |inbox: Arc<Inbox<u32>>| move || inbox.write(|mail| *mail += 1);
        let writers = [thread::spawn(writer(inbox.clone())), thread::spawn(writer(inbox.clone()))];
        let mut sum = 0;
        while sum < 2 {
            let mut mail = 0;
            inbox.take(LONG, &mut mail);
            sum += mail;
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
}

/// The poll thread looks at the flag only, as long as it has records to read.
#[test]
fn an_inbox_whose_flag_is_down_has_no_mail() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::<u32>::default());
        let writer = {
            let inbox = inbox.clone();
            thread::spawn(move || inbox.write(|mail| *mail += 1))
        };
        let mut taken = 0;
        inbox.take(Duration::ZERO, &mut taken);
        writer.join().unwrap();
        assert!(taken == 1 || inbox.has_mail(), "mail waits and the flag is down");
    });
}

#[test]
fn nothing_stays_in_a_closed_inbox() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::<Vec<Arc<()>>>::default());
        let letter = Arc::new(());
        let writer = {
            let (inbox, letter) = (inbox.clone(), letter.clone());
            thread::spawn(move || inbox.write_unless_closed(|mail| mail.push(letter)))
        };
        inbox.close();
        writer.join().unwrap();
        assert_eq!(Arc::strong_count(&letter), 1, "whoever waits for the answer would wait for ever");
    });
}

/// Stands for the one call into JavaScript that is pending at most.
#[derive(Default)]
struct Calls {
    pending: Mutex<usize>,
    came: Condvar,
}

impl Calls {
    fn call(&self) {
        *self.pending.lock().unwrap() += 1;
        self.came.notify_one();
    }

    fn next(&self) {
        let mut pending = self.pending.lock().unwrap();
        while *pending == 0 {
            pending = self.came.wait(pending).unwrap();
        }
        *pending -= 1;
    }
}

#[test]
fn rows_that_are_pushed_before_the_flag_is_raised_are_seen() {
    loom::model(|| {
        let shared = Arc::new((Rows::default(), WakeFlag::default(), Calls::default()));
        let writer = |shared: Arc<(Rows, WakeFlag, Calls)>| {
            move || {
                shared.0.push(|rows| rows.push(7));
                if shared.1.raise() {
                    shared.2.call();
                }
            }
        };
        let writers = [thread::spawn(writer(shared.clone())), thread::spawn(writer(shared.clone()))];
        let mut seen = 0;
        while seen < 2 {
            shared.2.next();
            shared.1.lower();
            seen += shared.0.take(1, &mut [0; 4]);
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
}
