use super::*;

const PEER: PeerSlot = PeerSlot(7);

fn lanes(count: u8) -> (Arc<Board>, Vec<Spread>) {
    let board = Arc::new(Board::new(count));
    let all = (0..count).map(|own| Spread::new(own, count, &board)).collect();
    (board, all)
}

fn flow(number: u64) -> Flow {
    Flow { key: number.wrapping_mul(0x9e37_79b9_7f4a_7c15), opens: false }
}

fn first(number: u64) -> Flow {
    Flow { opens: true, ..flow(number) }
}

#[test]
fn a_flow_stays_with_the_lane_that_read_its_first_frame() {
    let (_, all) = lanes(2);
    assert_eq!(all[1].lane(2, PEER, || flow(1)), 1);
    assert_eq!(all[0].lane(2, PEER, || flow(1)), 1, "wherever the kernel puts what follows");
    assert_eq!(all[0].lane(2, PEER, || flow(2)), 0);
}

#[test]
fn what_answers_leaves_by_the_lane_that_the_question_came_by() {
    let (_, all) = lanes(2);
    all[1].arrived(2, || flow(1));
    assert_eq!(all[0].lane(2, PEER, || flow(1)), 1);
    all[0].arrived(2, || flow(1));
    assert_eq!(all[0].lane(2, PEER, || flow(1)), 1, "one stray frame moves nothing");
    all[0].arrived(2, || first(1));
    assert_eq!(all[1].lane(2, PEER, || flow(1)), 0, "a new connection with the same ports does");
}

#[test]
fn where_a_pair_has_fewer_lanes_the_others_hand_over() {
    let (_, all) = lanes(4);
    for pair in 1..=8_u8 {
        for lane in &all {
            let number = u64::from(pair) << 8 | u64::from(lane.own());
            let wanted = lane.own() % pair.min(4);
            assert_eq!(lane.lane(pair, PEER, || flow(number)), wanted, "lane {} of {pair}", lane.own());
            assert_eq!(lane.lane_to_many(pair, PEER), wanted);
        }
    }
}

#[test]
fn connections_go_to_the_lanes_in_turn_whichever_lane_reads_them() {
    for reader in [[0; 8], [1; 8], [0, 1, 1, 1, 0, 1, 0, 0]] {
        let (_, all) = lanes(2);
        let mut carried = [0; 2];
        for (number, lane) in (0..).zip(reader) {
            let chosen = all[lane].lane(2, PEER, || first(number));
            carried[usize::from(chosen)] += 1;
            assert_eq!(all[1 - lane].lane(2, PEER, || first(number)), chosen, "said twice it is the same one");
        }
        assert_eq!(carried, [4, 4]);
    }
}

#[test]
fn a_lane_without_a_session_hands_over_to_one_that_has() {
    let (board, all) = lanes(3);
    board.set(2, PEER, true);
    assert!(all.iter().all(|lane| lane.lane(3, PEER, || flow(1)) == 2));
    assert!(all.iter().all(|lane| lane.lane(3, PEER, || first(2)) == 2), "a new connection too");
    board.set(0, PEER, true);
    assert_eq!(all.iter().map(|lane| lane.lane_to_many(3, PEER)).collect::<Vec<_>>(), [0, 2, 2]);
    assert_eq!(all[2].lane_to_many(2, PEER), 0, "only lanes of the pair count");
    board.set(2, PEER, false);
    board.set(0, PEER, false);
    assert_eq!(all[1].lane_to_many(3, PEER), 1, "where nobody has one, the own tunnel makes one");
}

#[test]
fn a_flow_comes_back_to_its_lane_when_that_has_its_session_again() {
    let (board, all) = lanes(2);
    board.set(0, PEER, true);
    board.set(1, PEER, true);
    assert_eq!(all[1].lane(2, PEER, || flow(1)), 1);
    board.clear(1);
    assert_eq!(all[0].lane(2, PEER, || flow(1)), 0);
    board.set(1, PEER, true);
    assert_eq!(all[0].lane(2, PEER, || flow(1)), 1);
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
        assert!(all.iter().all(|lane| lane.lane_to_many(2, peer) == 0));
    }
}

#[test]
fn flows_that_share_a_place_do_not_share_a_lane() {
    let (_, all) = lanes(2);
    let [one, other] = [0x1234_0000_0000_0010, 0x1234_0000_0000_0020].map(|key| Flow { key, opens: false });
    assert_eq!(all[1].lane(2, PEER, || one), 1);
    assert_eq!(all[0].lane(2, PEER, || other), 0);
    assert_eq!(all[1].lane(2, PEER, || one), 1, "written down anew, by the lane that the kernel gives it to by now");
}

#[test]
fn a_lane_alone_asks_nothing() {
    let alone = Spread::default();
    let nothing = || -> Flow { panic!("it matters to nobody") };
    assert_eq!(alone.lane(8, PEER, nothing), 0);
    alone.arrived(8, nothing);
    assert!(alone.board().is_none() && Spread::new(0, 1, &Arc::new(Board::new(1))).board().is_none());
}

#[test]
fn eight_lanes_have_eight_bits() {
    let (board, all) = lanes(8);
    for lane in 0..8 {
        board.set(lane, PEER, true);
    }
    let carried: Vec<u8> = (0..8).map(|number| all[3].lane(8, PEER, || first(number))).collect();
    assert_eq!(carried, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(all[7].lane_to_many(8, PEER), 7);
}
