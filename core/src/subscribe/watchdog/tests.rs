//! The watchdog under a clock of its own, beside brokers that answer at once.

use proptest::prelude::*;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(500);

/// A partition, its client and its leader.
#[derive(Clone, Debug)]
struct World {
    position: Option<i64>,
    received: Option<i64>,
    activity: Activity,
    is_owned: bool,
    is_reachable: bool,
    fetched: Option<i64>,
    end: Option<i64>,
}

impl World {
    /// All is received and handled up to an offset.
    fn at(offset: i64, end: i64) -> Self {
        World {
            position: Some(offset),
            received: Some(offset),
            activity: Activity::Idle,
            is_owned: true,
            is_reachable: true,
            fetched: Some(offset),
            end: Some(end),
        }
    }
}

struct Bed {
    watchdog: Watchdog,
    start: Instant,
    now: Instant,
    /// With how long after the start they came.
    findings: Vec<(Duration, Finding)>,
    questions: usize,
}

fn source() -> TopicPartition {
    TopicPartition::new("t", 0)
}

impl Bed {
    fn new() -> Self {
        let now = Instant::now();
        Bed { watchdog: Watchdog::new(Some(TIMEOUT)), start: now, now, findings: Vec::new(), questions: 0 }
    }

    fn look(&mut self, world: &World) {
        self.now += STEP;
        let World { position, received, activity, .. } = *world;
        let sight = Sight { source: source(), position, received, activity };
        let sights = world.is_owned.then_some(sight).into_iter();
        let mut findings = self.watchdog.look(self.now, world.is_reachable, sights);
        if let Some((id, partitions)) = self.watchdog.question(self.now) {
            self.questions += 1;
            assert_eq!(partitions, [source()]);
            let answer = Progress { fetched: world.fetched, end: world.end.filter(|_| world.is_reachable) };
            findings.extend(self.watchdog.answered(self.now, id, &[(source(), answer)]));
        }
        let after = self.now - self.start;
        self.findings.extend(findings.into_iter().map(|finding| (after, finding)));
    }

    fn pass(&mut self, time: Duration, world: &World) {
        let until = self.now + time;
        while self.now < until {
            self.look(world);
        }
    }

    fn remedies(&self) -> Vec<(u64, Remedy)> {
        let heal = |(after, finding): &(Duration, Finding)| match finding {
            Finding::Heal(_, remedy) => Some((after.as_secs(), *remedy)),
            _ => None,
        };
        self.findings.iter().filter_map(heal).collect()
    }

    fn told(&self) -> Vec<&'static str> {
        let name = |finding: &Finding| match finding {
            Finding::Stalled(_) => "stalled",
            Finding::Heal(_, remedy) => remedy.as_str(),
            Finding::Recovered(_) => "recovered",
        };
        self.findings.iter().map(|(_, finding)| name(finding)).collect()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn what_stands_still_is_told_once_and_healed_step_by_step() {
    let mut bed = Bed::new();
    bed.pass(Duration::from_secs(600), &World::at(5, 9));
    let (after, first) = &bed.findings[0];
    let Finding::Stalled(stall) = first else { panic!("{first:?}") };
    assert_eq!((stall.position, stall.end, stall.reason), (Some(5), 9, StallReason::NotFetched));
    assert!((TIMEOUT..TIMEOUT * 2).contains(after), "{after:?}");
    let (seconds, remedies): (Vec<u64>, Vec<Remedy>) = bed.remedies().into_iter().unzip();
    assert_eq!(remedies[..3], [Remedy::Seek, Remedy::Reassign, Remedy::NewClient]);
    assert!(remedies[3..].iter().all(|remedy| *remedy == Remedy::NewClient));
    let waits: Vec<u64> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((30..40).contains(&waits[0]) && (30..40).contains(&waits[1]), "one step per timeout: {waits:?}");
    assert!(waits[1..].windows(2).all(|pair| pair[1] >= pair[0]), "clients are replaced ever more seldom: {waits:?}");
    assert_eq!(bed.told().iter().filter(|told| **told == "stalled").count(), 1);
    assert_eq!(bed.watchdog.stalls().count(), 1);
}

#[test]
fn a_partition_goes_on_when_a_record_comes_or_nothing_is_left() {
    let running = World { activity: Activity::Running, received: Some(6), ..World::at(5, 9) };
    for moves in [running, World::at(6, 9), World::at(5, 5)] {
        let mut bed = Bed::new();
        bed.pass(TIMEOUT * 2, &World::at(5, 9));
        assert_eq!(bed.told(), ["stalled", "seek"]);
        bed.pass(TIMEOUT / 2, &moves);
        assert_eq!(bed.told(), ["stalled", "seek", "recovered"], "{moves:?}");
        assert_eq!(bed.watchdog.stalls().count(), 0);
        bed.pass(HOUR, &World::at(9, 9));
        assert_eq!(bed.told().len(), 3, "all is well");
    }
}

#[test]
fn nothing_is_a_stall_that_has_a_reason() {
    let busy = World { activity: Activity::Running, received: Some(7), ..World::at(5, 9) };
    let held_back = World { activity: Activity::HeldBack, ..World::at(5, 9) };
    let elsewhere = World { is_owned: false, ..World::at(5, 9) };
    let unreachable = World { is_reachable: false, ..World::at(5, 9) };
    let silent_leader = World { end: None, ..World::at(5, 9) };
    let empty = World::at(0, 0);
    let at_the_end = World::at(9, 9);
    let marks_of_transactions = World { fetched: Some(9), ..World::at(5, 9) };
    for world in [busy, held_back, elsewhere, unreachable, silent_leader, empty, at_the_end, marks_of_transactions] {
        let mut bed = Bed::new();
        bed.pass(HOUR, &world);
        assert_eq!(bed.findings, [], "{world:?}");
    }
}

#[test]
fn the_time_begins_anew_with_whatever_explains_it() {
    let behind = World::at(5, 9);
    let interruptions = [
        World { activity: Activity::HeldBack, ..behind.clone() },
        World { is_owned: false, ..behind.clone() },
        World { is_reachable: false, ..behind.clone() },
    ];
    for interruption in interruptions {
        let mut bed = Bed::new();
        for _ in 0..50 {
            bed.pass(TIMEOUT - STEP, &behind);
            bed.look(&interruption);
        }
        assert_eq!(bed.findings, [], "{interruption:?}");
    }
    // A client that fetches through what nobody gets is at work.
    let mut bed = Bed::new();
    for fetched in 5..1000 {
        bed.pass(TIMEOUT / 2, &World { fetched: Some(fetched), ..World::at(5, 1000) });
    }
    assert_eq!(bed.findings, []);
}

#[test]
fn an_outage_while_a_partition_stands_still_tries_nothing() {
    let mut bed = Bed::new();
    bed.pass(TIMEOUT * 2, &World::at(5, 9));
    assert_eq!(bed.told(), ["stalled", "seek"]);
    bed.pass(HOUR, &World { is_reachable: false, ..World::at(5, 9) });
    assert_eq!(bed.told(), ["stalled", "seek"]);
    bed.pass(TIMEOUT * 2, &World::at(5, 9));
    assert_eq!(bed.told(), ["stalled", "seek", "reassign"]);
}

#[test]
fn records_that_nobody_hands_out_and_starts_that_nobody_finds_are_stalls() {
    let waiting = World { received: Some(9), fetched: Some(9), ..World::at(5, 9) };
    let lost = World { position: None, received: None, fetched: None, ..World::at(0, 9) };
    for (world, reason) in [(waiting, StallReason::NotHandedOut), (lost, StallReason::NoPosition)] {
        let mut bed = Bed::new();
        bed.pass(TIMEOUT * 2, &world);
        assert_eq!(bed.watchdog.stalls().map(|stall| stall.reason).collect::<Vec<_>>(), [reason]);
    }
}

#[test]
fn what_a_new_client_gets_again_is_not_new_to_the_trouble() {
    let behind = World::at(5, 9);
    let mut bed = Bed::new();
    bed.pass(TIMEOUT * 4, &behind);
    assert_eq!(bed.told(), ["stalled", "seek", "reassign", "new_client"]);
    bed.pass(TIMEOUT / 4, &World { is_owned: false, ..behind.clone() });
    assert_eq!(bed.watchdog.stalls().count(), 0, "it is not here");
    // The new client begins where the group left off, which may be before.
    bed.look(&World::at(3, 9));
    assert_eq!(bed.watchdog.stalls().count(), 1);
    bed.pass(TIMEOUT * 2, &World::at(3, 9));
    assert_eq!(bed.told()[4..], ["new_client"]);
    bed.pass(STEP, &World::at(4, 9));
    assert_eq!(bed.told()[5..], ["recovered"]);
}

#[test]
fn without_a_timeout_it_sleeps() {
    let mut bed = Bed { watchdog: Watchdog::new(None), ..Bed::new() };
    bed.pass(HOUR, &World::at(5, 9));
    assert_eq!((bed.findings.len(), bed.questions), (0, 0));
}

#[test]
fn quiet_partitions_are_asked_about_together_and_seldom() {
    let (mut watchdog, mut now) = (Watchdog::new(Some(TIMEOUT)), Instant::now());
    let mut questions = Vec::new();
    for look in 0..1200 {
        now += STEP;
        // They fall silent one after the other, within a few seconds.
        let sights = (0..10).map(|partition| Sight {
            source: TopicPartition::new("t", partition),
            position: Some(i64::from(look.min(partition))),
            received: Some(i64::from(look.min(partition))),
            activity: Activity::Idle,
        });
        assert_eq!(watchdog.look(now, true, sights), []);
        if let Some((id, partitions)) = watchdog.question(now) {
            let at_end = |source: &TopicPartition| {
                let end = Some(i64::from(source.partition));
                (source.clone(), Progress { fetched: None, end })
            };
            questions.push(partitions.len());
            assert_eq!(watchdog.answered(now, id, &partitions.iter().map(at_end).collect::<Vec<_>>()), []);
        }
    }
    assert!(questions.len() < 80 && questions.iter().sum::<usize>() >= 300, "{questions:?}");
}

#[test]
fn an_answer_that_comes_too_late_says_nothing() {
    let behind = World::at(5, 9);
    let mut bed = Bed::new();
    bed.pass(TIMEOUT / 4, &behind);
    let sight = |position| Sight { source: source(), position, received: position, activity: Activity::Idle };
    let mut asked = None;
    while asked.is_none() {
        bed.now += STEP;
        bed.watchdog.look(bed.now, true, [sight(Some(5))].into_iter());
        asked = bed.watchdog.question(bed.now);
    }
    let (id, _) = asked.unwrap();
    assert_eq!(bed.watchdog.question(bed.now + TIMEOUT / 2), None, "one question at a time");
    let answer = [(source(), Progress { fetched: None, end: Some(9) })];
    assert_eq!(bed.watchdog.answered(bed.now, id + 1, &answer), []);
    bed.watchdog.look(bed.now + STEP, true, [sight(Some(9))].into_iter());
    bed.watchdog.answered(bed.now + STEP, id, &answer);
    assert!(bed.watchdog.watches[&source()].behind.is_none(), "it has moved since it was asked about");
}

fn activities() -> impl Strategy<Value = Activity> {
    prop_oneof![4 => Just(Activity::Idle), 1 => Just(Activity::Running), 1 => Just(Activity::HeldBack)]
}

proptest! {
    /// Whatever happens: a stall is told only when for the whole timeout the partition was here, idle, behind and
    /// unmoved, brokers were up and the leader answered; remedies come in their order, one per timeout; and what
    /// was told as stalled ends with its recovery or with the assignment.
    #[test]
    fn no_alarm_without_cause(
        phases in prop::collection::vec(
            (activities(), 0i64..3, 0i64..6, prop::bool::weighted(0.9), prop::bool::weighted(0.9), 1u32..200),
            1..40,
        )
    ) {
        let mut bed = Bed::new();
        let (mut received, mut end) = (0i64, 0i64);
        let mut quiet_since = bed.now;
        let mut told_at = None;
        let mut last = None;
        for (activity, moves, produced, is_owned, is_reachable, looks) in phases {
            end += produced;
            let moves = moves.min(end - received);
            received += moves;
            for look in 0..looks {
                let world = World { activity, is_owned, is_reachable, ..World::at(received, end) };
                let quiet = activity == Activity::Idle && is_owned && is_reachable && received < end;
                if !quiet || (look == 0 && moves > 0) {
                    quiet_since = bed.now + STEP;
                }
                let before = bed.findings.len();
                bed.look(&world);
                for (_, finding) in &bed.findings[before..] {
                    match finding {
                        Finding::Stalled(stall) => {
                            prop_assert!(quiet && bed.now >= quiet_since + TIMEOUT, "{:?}", stall);
                            prop_assert_eq!((stall.position, stall.end), (Some(received), end));
                            told_at = Some(bed.now);
                            last = None;
                        }
                        Finding::Heal(_, remedy) => {
                            let due = last.map_or(told_at.unwrap(), |(at, _): (Instant, Remedy)| at + TIMEOUT);
                            prop_assert!(quiet && bed.now >= due);
                            let expected = match last {
                                None => Remedy::Seek,
                                Some((_, Remedy::Seek)) => Remedy::Reassign,
                                Some(_) => Remedy::NewClient,
                            };
                            prop_assert_eq!(*remedy, expected);
                            last = Some((bed.now, *remedy));
                        }
                        Finding::Recovered(_) => {
                            prop_assert!(told_at.take().is_some());
                        }
                    }
                }
                let standing = bed.watchdog.stalls().count();
                prop_assert!(standing == 0 || told_at.is_some());
                prop_assert!(!is_owned || activity != Activity::Running || standing == 0);
            }
        }
    }
}
