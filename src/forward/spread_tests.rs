use super::*;

const PEER: PeerSlot = PeerSlot(7);

fn lanes(count: u8) -> (Arc<Board>, Vec<Spread>) {
    let board = Arc::new(Board::default());
    let all = (0..count).map(|own| Spread::new(own, count, &board)).collect();
    (board, all)
}

#[test]
fn a_lane_that_the_pair_uses_keeps_what_it_reads() {
    let (_, all) = lanes(4);
    for pair in 1..=8_u8 {
        for lane in &all {
            assert_eq!(lane.lane(pair, PEER, || false), lane.own() % pair.min(4), "lane {} of {pair}", lane.own());
        }
    }
}

#[test]
fn connections_go_to_the_lanes_in_turn_whichever_lane_reads_them() {
    for reader in [[0; 8], [1; 8], [0, 1, 1, 1, 0, 1, 0, 0]] {
        let (_, all) = lanes(2);
        let mut carried = [0; 2];
        for lane in reader {
            carried[usize::from(all[lane].lane(2, PEER, || true))] += 1;
        }
        assert_eq!(carried, [4, 4]);
    }
}

#[test]
fn a_lane_without_a_session_hands_over_to_one_that_has() {
    let (board, all) = lanes(3);
    board.set(2, PEER, true);
    assert!(all.iter().all(|lane| lane.lane(3, PEER, || false) == 2));
    assert!(all.iter().all(|lane| lane.lane(3, PEER, || true) == 2), "a new connection too");
    board.set(0, PEER, true);
    assert_eq!(all.iter().map(|lane| lane.lane(3, PEER, || false)).collect::<Vec<_>>(), [0, 2, 2]);
    assert_eq!(all[2].lane(2, PEER, || false), 0, "only lanes of the pair count");
    board.set(2, PEER, false);
    board.set(0, PEER, false);
    assert_eq!(all[1].lane(3, PEER, || false), 1, "where nobody has one, the own tunnel makes one");
}

#[test]
fn a_lane_that_ends_leaves_no_session_behind() {
    let (board, all) = lanes(2);
    for peer in [PEER, PeerSlot(0), PeerSlot(u16::MAX)] {
        board.set(0, peer, true);
        board.set(1, peer, true);
    }
    board.clear(1);
    for peer in [PEER, PeerSlot(0), PeerSlot(u16::MAX)] {
        assert_eq!(all[1].lane(2, peer, || false), 0);
        assert_eq!(all[0].lane(2, peer, || true), 0);
    }
}

#[test]
fn a_lane_alone_asks_nothing() {
    let alone = Spread::default();
    assert_eq!(alone.lane(8, PEER, || panic!("it matters to nobody")), 0);
    assert!(alone.board().is_none() && Spread::new(0, 1, &Arc::default()).board().is_none());
}

#[test]
fn eight_lanes_have_eight_bits() {
    let (board, all) = lanes(8);
    for lane in 0..8 {
        board.set(lane, PEER, true);
    }
    let carried: Vec<u8> = (0..8).map(|_| all[3].lane(8, PEER, || true)).collect();
    assert_eq!(carried, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(all[7].lane(8, PEER, || false), 7);
}
