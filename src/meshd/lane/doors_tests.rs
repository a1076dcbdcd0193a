use super::*;
use crate::types::{Mono, NetSlot};
use crate::wire::virtio::Virtio;

/// Two lanes that know each other, and their pools.
fn two() -> ([Passage; 2], [Pool; 2]) {
    let [(zero, at_zero), (one, at_one)] = [pair().unwrap(), pair().unwrap()];
    let mut passages = [Passage::new(0, at_zero), Passage::new(1, at_one)];
    for passage in &mut passages {
        passage.set_doors(vec![zero.clone(), one.clone()]);
    }
    (passages, [Pool::default(), Pool::default()])
}

fn handed(pool: &mut Pool, lane: u8, number: usize) -> Handed {
    let mut buf = pool.take().unwrap();
    buf.copy_from(&number.to_be_bytes());
    Handed { lane, peer: PeerSlot(3), frame: Frame { net: NetSlot(0), buf, virtio: Virtio::default() } }
}

fn number(passed: &Passed) -> usize {
    usize::from_be_bytes(passed.frame.buf.bytes().try_into().unwrap())
}

fn is_readable(passage: &Passage) -> bool {
    let mut poll = crate::linux::poll::Poll::new().unwrap();
    poll.add(passage.as_fd(), 1).unwrap();
    poll.wait(Some(Mono::default().since(Mono::default()))).unwrap();
    poll.nth(0).is_some()
}

#[test]
fn frames_come_in_the_order_in_which_they_were_handed_over() {
    let ([mut from, to], [mut pool, mut other]) = two();
    let mut drops = Drops::default();
    for n in 0..10 {
        from.pass(handed(&mut pool, 1, n), &mut pool, &mut drops);
    }
    for n in 0..10 {
        let passed = to.take(&mut other).unwrap();
        assert_eq!((number(&passed), passed.peer), (n, PeerSlot(3)));
    }
    assert!(to.take(&mut other).is_none() && drops.total() == 0);
}

#[test]
fn a_full_one_drops_what_is_new_and_says_so() {
    let ([mut from, to], [mut pool, mut other]) = two();
    let mut drops = Drops::default();
    for n in 0..ROOM + 5 {
        from.pass(handed(&mut pool, 1, n), &mut pool, &mut drops);
    }
    assert_eq!(drops.get(DropReason::LaneBusy), 5);
    let mut got = Vec::new();
    while let Some(passed) = to.take(&mut other) {
        got.push(number(&passed));
        other.give(passed.frame.buf);
    }
    assert_eq!(got, (0..ROOM).collect::<Vec<_>>());
}

#[test]
fn a_lane_that_has_ended_gets_nothing_and_its_successor_everything() {
    let ([mut from, to], [mut pool, mut other]) = two();
    let mut drops = Drops::default();
    drop(to);
    from.pass(handed(&mut pool, 1, 1), &mut pool, &mut drops);
    from.pass(handed(&mut pool, 7, 2), &mut pool, &mut drops);
    assert_eq!(drops.get(DropReason::LaneBusy), 2, "no such lane, and one that is gone");
    let (door, entrance) = pair().unwrap();
    from.set_doors(vec![door.clone(), door]);
    from.pass(handed(&mut pool, 1, 3), &mut pool, &mut drops);
    let successor = Passage::new(1, entrance);
    assert_eq!(number(&successor.take(&mut other).unwrap()), 3);
    assert_eq!(drops.total(), 2);
}

#[test]
fn after_warming_up_no_buffer_is_made_for_frames_that_change_lanes() {
    let ([mut from, to], [mut pool, mut other]) = two();
    let mut drops = Drops::default();
    let mut round = |n: usize| {
        for at in 0..64 {
            from.pass(handed(&mut pool, 1, n + at), &mut pool, &mut drops);
        }
        while let Some(passed) = to.take(&mut other) {
            other.give(passed.frame.buf);
        }
        pool.made() + other.made()
    };
    let _ = (0..4).map(&mut round).max();
    let warm = round(4);
    assert_eq!((5..1000).map(&mut round).max(), Some(warm), "they would run out, or memory would");
    assert_eq!(drops.total(), 0);
}

#[test]
fn the_bell_rings_once_a_batch_and_again_for_what_came_late() {
    let ([mut from, to], [mut pool, mut other]) = two();
    let mut drops = Drops::default();
    assert!(!to.is_called() && !is_readable(&to));
    from.ring();
    assert!(!to.is_called(), "nothing was handed over");
    from.pass(handed(&mut pool, 1, 1), &mut pool, &mut drops);
    from.ring();
    assert!(to.is_called() && is_readable(&to));
    to.hear();
    assert!(!to.is_called() && !is_readable(&to));
    from.pass(handed(&mut pool, 1, 2), &mut pool, &mut drops);
    from.ring();
    assert!(is_readable(&to));
    while to.take(&mut other).is_some() {}
    to.hear();
    to.ring_self();
    assert!(to.is_called() && is_readable(&to));
}

#[test]
fn nothing_is_missed_between_two_threads() {
    const FRAMES: usize = 20_000;
    let ([mut from, to], [mut pool, mut other]) = two();
    let reader = std::thread::spawn(move || {
        let mut poll = crate::linux::poll::Poll::new().unwrap();
        poll.add(to.as_fd(), 1).unwrap();
        let mut expected = 0;
        while expected < FRAMES {
            poll.wait(Some(std::time::Duration::from_secs(20))).unwrap();
            assert!(poll.nth(0).is_some(), "nobody rang after frame {expected}");
            to.hear();
            while let Some(passed) = to.take(&mut other) {
                assert_eq!(number(&passed), expected);
                expected += 1;
                other.give(passed.frame.buf);
            }
        }
    });
    let mut sent = 0;
    while sent < FRAMES {
        let mut drops = Drops::default();
        from.pass(handed(&mut pool, 1, sent), &mut pool, &mut drops);
        // Full: the same once more.
        sent += usize::from(drops.total() == 0);
        from.ring();
        assert!(!reader.is_finished() || sent == FRAMES);
    }
    reader.join().unwrap();
}
