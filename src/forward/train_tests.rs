use super::*;

const A: PeerSlot = PeerSlot(1);
const B: PeerSlot = PeerSlot(2);

/// Lines up payloads and says which trains come of it: peer, size and lengths of the datagrams.
fn trains(payloads: &[(PeerSlot, usize)]) -> Vec<(PeerSlot, Vec<usize>)> {
    let (mut pool, mut trains) = (Pool::default(), Vec::new());
    for (peer, len) in payloads {
        line_up(&mut trains, &mut pool, *peer, *len, 1440).unwrap().fill(0xee);
    }
    let lengths = |mut train: Outgoing| (train.peer, train.datagrams().map(|datagram| datagram.len()).collect());
    trains.into_iter().map(lengths).collect()
}

#[test]
fn a_shorter_datagram_ends_a_train() {
    let made = trains(&[(A, 1440), (A, 1440), (A, 100), (A, 100), (A, 1440)]);
    assert_eq!(made, [(A, vec![1472, 1472, 144]), (A, vec![144]), (A, vec![1472])]);
}

#[test]
fn lengths_that_pad_to_one_size_share_a_train() {
    assert_eq!(trains(&[(A, 70), (A, 74), (A, 80), (A, 65)]), [(A, vec![112; 4])]);
}

#[test]
fn peers_do_not_mix_and_keep_their_order() {
    let made = trains(&[(A, 80), (B, 80), (A, 80), (A, 64), (B, 80), (A, 80)]);
    assert_eq!(made, [(A, vec![112, 112, 96]), (B, vec![112, 112]), (A, vec![112])]);
}

#[test]
fn a_train_has_at_most_64_datagrams_and_65507_bytes() {
    assert_eq!(trains(&[(A, 16); 130]).iter().map(|train| train.1.len()).collect::<Vec<_>>(), [64, 64, 2]);
    for (_, lengths) in trains(&[(A, 1440); 200]) {
        assert!(lengths.len() <= 44 && lengths.iter().sum::<usize>() <= MAX_BYTES);
    }
    let (mut pool, mut trains) = (Pool::default(), Vec::new());
    assert!(line_up(&mut trains, &mut pool, A, MAX_BYTES - AROUND, 0).is_ok());
    assert_eq!(line_up(&mut trains, &mut pool, A, MAX_BYTES - AROUND + 1, 0), Err(DropReason::Oversize));
}

#[test]
fn padding_is_zero_and_stops_at_what_the_path_carries() {
    let (mut pool, mut trains) = (Pool::default(), Vec::new());
    let mut dirty = pool.take().unwrap();
    dirty.space().fill(0xee);
    pool.give(dirty);
    line_up(&mut trains, &mut pool, A, 1425, 1432).unwrap().fill(1);
    let datagram = trains[0].datagrams().next().unwrap();
    assert_eq!(datagram.len(), AROUND + 1432);
    assert_eq!(datagram[tunnel::HEADROOM + 1425..][..7], [0; 7]);
}

#[test]
fn only_what_was_sealed_stays() {
    let (mut pool, mut trains) = (Pool::default(), Vec::new());
    for len in [80, 80, 20] {
        line_up(&mut trains, &mut pool, A, len, 1440).unwrap();
    }
    assert_eq!(trains.pop().unwrap().into_buf(2).len(), 2 * 112);
}
