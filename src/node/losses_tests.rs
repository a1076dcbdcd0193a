use proptest::prelude::*;

use super::*;

const PEER: PeerSlot = PeerSlot(3);

/// A node with one tunnel, a second at a time.
#[derive(Default)]
struct Line {
    losses: Losses,
    arrivals: Arrivals,
    overflows: u32,
    no_room: u64,
    seconds: u64,
}

impl Line {
    fn second(&mut self, sealed: u64, lost: u64) -> Option<Whence> {
        self.seconds += 1;
        self.arrivals.sealed += sealed;
        self.arrivals.accepted += sealed - lost;
        self.look();
        self.stands()
    }

    fn look(&mut self) {
        let now = Mono::from_nanos((1000 + self.seconds) * 1_000_000_000);
        let counted = Counted { lane: 0, overflows: self.overflows, peers: vec![(PEER, self.arrivals)] };
        self.losses.look(&[counted], self.no_room, now);
    }

    fn stands(&self) -> Option<Whence> {
        self.losses.of(PEER).and_then(|loss| loss.stands)
    }

    fn percent(&self) -> Option<u8> {
        self.losses.of(PEER).and_then(|loss| loss.percent)
    }

    /// So many seconds of it; in how many seconds it was told, and not any more.
    fn run(&mut self, seconds: u64, sealed: u64, lost: impl Fn(u64) -> u64) -> Vec<bool> {
        (0..seconds).map(|second| self.second(sealed, lost(second)).is_some()).collect()
    }
}

fn begun() -> Line {
    let mut line = Line::default();
    line.look();
    assert_eq!(line.run(30, 300, |_| 0), vec![false; 30]);
    line
}

#[test]
fn a_standing_loss_is_told_in_twenty_seconds_and_ends_in_twenty() {
    for (rate, lost, within) in [(300, 60, 14), (300, 9, 20), (10_000, 250, 20), (100_000, 100_000 / 3, 14), (8, 2, 20)]
    {
        let mut line = begun();
        let told = line.run(60, rate, |_| lost);
        let first = told.iter().position(|told| *told).unwrap_or_else(|| panic!("{lost} of {rate} are not told"));
        assert!(first > 10 && first < within, "{lost} of {rate}: {first}");
        assert!(told[first..].iter().all(|told| *told), "{lost} of {rate}");
        assert_eq!(line.stands(), Some(Whence::Way));
        let after = line.run(30, rate, |_| 0);
        let last = after.iter().position(|told| !told).unwrap();
        assert!((9..=20).contains(&last) && after[last..].iter().all(|told| !told), "{lost} of {rate}: {after:?}");
    }
}

#[test]
fn it_ends_where_nobody_speaks_any_more() {
    let mut line = begun();
    assert!(line.run(30, 300, |_| 60)[29]);
    let after = line.run(25, 0, |_| 0);
    assert!(after[5] && !after[20], "{after:?}");
    assert_eq!(line.percent(), None);
}

#[test]
fn gaps_of_a_line_that_flaps_are_no_standing_loss() {
    // Whenever it is in the two spans: over the end of a look, and with some lost all the time.
    for trickle in [0, 1] {
        for gap in [&[300, 0][..], &[150, 150], &[3, 297]] {
            let mut line = begun();
            line.run(5, 300, |_| trickle);
            for lost in gap {
                assert_eq!(line.second(300, *lost), None);
            }
            assert_eq!(line.run(40, 300, |_| trickle), vec![false; 40], "{gap:?}");
        }
    }
    // An outage of a minute, told by the first message after it; then another one.
    let mut line = begun();
    line.run(60, 0, |_| 0);
    assert_eq!(line.second(18_300, 18_000), None);
    line.run(12, 300, |_| 0);
    assert_eq!(line.second(1300, 1000), None);
    assert_eq!(line.run(40, 300, |_| 0), vec![false; 40]);
}

#[test]
fn what_is_lost_each_second_anew_stands_however_unevenly() {
    let mut line = begun();
    let told = line.run(40, 300, |second| if second % 3 == 0 { 100 } else { 0 });
    assert!(told[20..].iter().all(|told| *told), "{told:?}");
}

#[test]
fn few_messages_and_few_losses_are_not_told() {
    for (rate, lost) in [(300, 0), (300, 3), (4, 2), (1000, 19), (19, 1)] {
        let mut line = begun();
        assert_eq!(line.run(60, rate, |_| lost), vec![false; 60], "{lost} of {rate}");
    }
}

#[test]
fn the_percentage_is_of_the_last_twenty_seconds() {
    let mut line = begun();
    assert_eq!(line.percent(), Some(0));
    line.run(10, 300, |_| 60);
    assert_eq!(line.percent(), Some(10));
    line.run(10, 300, |_| 60);
    assert_eq!(line.percent(), Some(20));
    line.run(20, 300, |_| 2);
    assert_eq!(line.percent(), Some(1));
    line.run(20, 2, |_| 0);
    assert_eq!(line.percent(), None);
}

#[test]
fn what_a_full_socket_takes_is_told_as_that_and_hides_no_loss_on_the_way() {
    let mut line = begun();
    for _ in 0..30 {
        line.overflows = line.overflows.wrapping_add(7);
        line.no_room += 7;
        line.second(300, 60);
    }
    assert_eq!(line.stands(), Some(Whence::Socket));
    // What is damaged is not taken either, and tells nothing of this machine.
    let mut line = begun();
    for _ in 0..30 {
        line.overflows += 2;
        line.second(300, 60);
    }
    assert_eq!(line.stands(), Some(Whence::Way));
    // A gap that the first look after it shows is the socket's still.
    let mut line = begun();
    for second in 0..40 {
        line.overflows += u32::from(second % 3 == 0);
        line.no_room += u64::from(second % 3 == 0);
        line.second(300, if second % 3 == 1 { 200 } else { 0 });
    }
    assert_eq!(line.stands(), Some(Whence::Socket));
    let mut line = begun();
    for second in 0..40 {
        line.overflows += u32::from(second % 4 == 0);
        line.no_room += u64::from(second % 4 == 0);
        line.second(300, 60);
    }
    assert_eq!(line.stands(), Some(Whence::Way));
}

#[test]
fn a_lane_that_begins_anew_loses_nothing() {
    let mut line = begun();
    for _ in 0..30 {
        line.arrivals = Arrivals { sealed: 10, accepted: 10 };
        assert_eq!(line.second(300, 0), None);
        assert_eq!(line.second(300, 0), None);
    }
    // And a peer that is none any more is forgotten.
    line.losses.look(&[Counted { lane: 0, overflows: 0, peers: Vec::new() }], 0, Mono::from_nanos(5_000_000_000_000));
    assert_eq!(line.losses.of(PEER), None);
}

#[test]
fn lanes_of_a_peer_are_judged_together() {
    let mut losses = Losses::default();
    for second in 0..40 {
        let counted = |lane: u8| {
            let lost = if lane == 1 { second * 20 } else { 0 };
            let arrivals = Arrivals { sealed: second * 100, accepted: second * 100 - lost };
            Counted { lane, overflows: 0, peers: vec![(PEER, arrivals)] }
        };
        losses.look(&[counted(0), counted(1)], 0, Mono::from_nanos(second * 1_000_000_000));
    }
    assert_eq!(losses.of(PEER), Some(Loss { percent: Some(10), stands: Some(Whence::Way) }));
}

proptest! {
    /// Whatever a peer lets its counters do, and however late the looks are.
    #[test]
    fn nothing_that_a_peer_counts_panics(looks in prop::collection::vec((any::<u64>(), any::<u64>(), 0_u64..1 << 36), 1..60)) {
        let mut losses = Losses::default();
        let mut at = 0;
        for (sealed, accepted, later) in looks {
            at += later;
            let peers = vec![(PEER, Arrivals { sealed, accepted })];
            losses.look(&[Counted { lane: 0, overflows: 0, peers }], 0, Mono::from_nanos(at));
            prop_assert!(losses.of(PEER).is_some_and(|loss| loss.percent.is_none_or(|percent| percent <= 100)));
        }
    }
}
