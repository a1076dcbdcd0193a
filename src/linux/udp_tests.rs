use std::time::Duration;

use super::*;
use crate::linux::inbox::Arrival;

const NOW: Mono = Mono::from_nanos(1_000_000_000);

fn any_port(ip: &str) -> LaneSocket {
    LaneSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap()
}

fn to(address: SocketAddr, bytes: &[u8], segment: usize) -> Datagrams {
    let mut buf = Buf::default();
    buf.copy_from(bytes);
    Datagrams { address, buf, segment }
}

/// The datagrams that have arrived, each with its sender; loopback delivers them before `send` returns.
fn received(socket: &LaneSocket) -> Vec<(SocketAddr, Vec<u8>)> {
    let (mut inbox, mut all) = (Inbox::default(), Vec::new());
    loop {
        socket.receive(&mut inbox, 64).unwrap();
        if inbox.is_empty() {
            return all;
        }
        for index in 0..inbox.len() {
            let Arrival { from, start, len, segment } = inbox.arrival(index).unwrap();
            all.extend(inbox.bytes()[start..start + len].chunks(segment).map(|bytes| (from, bytes.to_vec())));
        }
    }
}

#[test]
fn batches_cross_in_order_and_a_buffer_may_hold_several() {
    let (mut a, b) = (any_port("127.0.0.1"), any_port("127.0.0.1"));
    let there = b.address().unwrap();
    let sent = a.send(&[to(there, b"one", 3), to(there, b"aabbc", 2)], NOW);
    assert_eq!(sent, Sent { sent: 4, ..Sent::default() });
    let expected = [b"one".as_slice(), b"aa", b"bb", b"c"].map(|bytes| (a.address().unwrap(), bytes.to_vec()));
    assert_eq!(received(&b), expected);
    assert_eq!(received(&b), [], "nothing more, and no waiting");
}

#[test]
fn what_a_full_socket_could_not_take_is_counted() {
    let (mut a, b) = (any_port("127.0.0.1"), any_port("::"));
    let there = SocketAddr::from(([127, 0, 0, 1], b.address().unwrap().port()));
    a.send(&[to(there, b"one", 3)], NOW);
    assert_eq!(b.dropped(), Some(0));
    let large = to(there, &vec![0; 60_000], 60_000);
    let sent: u64 = (0..800).map(|_| a.send(std::slice::from_ref(&large), NOW).sent).sum();
    let arrived = received(&b).len();
    assert!(arrived > 1, "{arrived}");
    assert_eq!(b.dropped().map(u64::from), Some(sent + 1 - arrived as u64));
    assert!(b.dropped().is_some_and(|dropped| dropped > 0));
}

#[test]
fn an_ipv6_socket_speaks_ipv4_too() {
    let (mut dual, mut v4) = (any_port("::"), any_port("127.0.0.1"));
    let port = dual.address().unwrap().port();
    v4.send(&[to(SocketAddr::from(([127, 0, 0, 1], port)), b"ask", 3)], NOW);
    let (asker, _) = received(&dual).remove(0);
    assert_eq!(asker, v4.address().unwrap(), "a plain IPv4 address, not a mapped one");
    dual.send(&[to(asker, b"answer", 6)], NOW);
    assert_eq!(received(&v4)[0].1, b"answer");
}

#[test]
fn what_does_not_fit_is_counted_and_the_rest_goes() {
    let (mut a, b) = (any_port("127.0.0.1"), any_port("127.0.0.1"));
    let there = b.address().unwrap();
    let too_big = to(there, &vec![0; 65_508], 65_508);
    assert_eq!(a.send(&[too_big, to(there, b"x", 1)], NOW), Sent { sent: 1, too_big: 1, ..Sent::default() });
    let nowhere = SocketAddr::from(([255, 255, 255, 255], 9));
    let refused = Some((nowhere, libc::EACCES));
    assert_eq!(a.send(&[to(nowhere, b"x", 1)], NOW), Sent { failed: 1, refused, ..Sent::default() });
}

#[test]
fn a_taken_port_and_a_foreign_address_have_their_own_errors() {
    let first = any_port("::");
    let taken = LaneSocket::bind(first.address().unwrap()).unwrap_err();
    assert!(matches!(taken, UdpError::Taken(_)), "{taken}");
    let foreign = LaneSocket::bind("192.0.2.1:0".parse().unwrap()).unwrap_err();
    assert!(matches!(foreign, UdpError::NoAddress(_)), "{foreign}");
}

#[test]
fn a_train_that_the_kernel_refuses_is_sent_one_by_one_and_trains_are_tried_again_later() {
    // More bytes than one UDP packet over IPv4 holds; more datagrams than any kernel takes.
    for (bytes, segment) in [(45 * 1457, 1457), (200 * 16, 16)] {
        let (mut a, b) = (any_port("127.0.0.1"), any_port("127.0.0.1"));
        let there = b.address().unwrap();
        let all: Vec<u8> = (0..bytes).map(|n: usize| (n / segment).to_le_bytes()[0]).collect();
        let count = bytes / segment;
        let sent = u64::try_from(count).unwrap();
        assert_eq!(a.send(&[to(there, &all, segment)], NOW), Sent { sent, resent: 1, ..Sent::default() });
        assert_eq!(arrived(&b), all, "nothing is lost, and in order");
        let three = to(there, b"aabbcc", 2);
        assert!(!a.refusals.allow(there, NOW + Duration::from_secs(59)));
        assert_eq!(a.send(&[three], NOW), Sent { sent: 3, ..Sent::default() }, "one by one at once");
        assert!(a.refusals.allow(there, NOW + Duration::from_secs(61)));
        assert_eq!(arrived(&b), b"aabbcc");
    }
}

#[test]
fn datagrams_that_are_too_big_themselves_say_nothing_about_trains() {
    let mut a = any_port("127.0.0.1");
    let nowhere = SocketAddr::from(([255, 255, 255, 255], 9));
    let sent = a.send(&[to(nowhere, b"aabb", 2)], NOW);
    assert_eq!(sent, Sent { failed: 2, refused: Some((nowhere, libc::EACCES)), ..Sent::default() });
    assert!(a.refusals.allow(nowhere, NOW));
}

/// The bytes of everything that has arrived.
fn arrived(socket: &LaneSocket) -> Vec<u8> {
    received(socket).into_iter().flat_map(|(_, bytes)| bytes).collect()
}

#[test]
fn a_train_arrives_in_one_piece_and_its_last_datagram_may_be_shorter() {
    let (mut a, b) = (any_port("127.0.0.1"), any_port("127.0.0.1"));
    let all: Vec<u8> = (0..30_000u32).map(|n| (n / 1000).to_le_bytes()[0]).collect();
    let train = to(b.address().unwrap(), &all[..29_500], 1000);
    assert_eq!(a.send(&[train], NOW), Sent { sent: 30, ..Sent::default() });
    let mut inbox = Inbox::default();
    b.receive(&mut inbox, 64).unwrap();
    let whole = Arrival { from: a.address().unwrap(), start: 0, len: 29_500, segment: 1000 };
    assert_eq!((inbox.len(), inbox.arrival(0)), (1, Some(whole)), "the kernel has GRO since 5.0");
    assert!(inbox.bytes() == &all[..29_500]);
}

#[test]
fn an_inbox_takes_what_fits_and_leaves_the_rest_for_the_next_time() {
    let (mut a, b) = (any_port("127.0.0.1"), any_port("127.0.0.1"));
    let there = b.address().unwrap();
    let trains: Vec<Datagrams> = (0..10u8).map(|n| to(there, &[n; 65_000], 1300)).collect();
    assert_eq!(a.send(&trains, NOW).sent, 500);
    let mut inbox = Inbox::default();
    b.receive(&mut inbox, 64).unwrap();
    assert_eq!(inbox.len(), 4);
    assert_eq!(received(&b).len(), 6 * 50);
}

/// A socket that does not send trains whose datagrams all have one size.
fn avoiding() -> LaneSocket {
    let mut socket = any_port("127.0.0.1");
    socket.set_offload(Offload { equal_trains: false, ..Offload::default() }).unwrap();
    socket
}

#[test]
fn a_train_of_equal_datagrams_gets_a_tail_where_such_trains_are_damaged_and_no_other_does() {
    let (mut a, b) = (avoiding(), any_port("127.0.0.1"));
    let there = b.address().unwrap();
    assert_eq!(a.send(&[to(there, b"aabbcc", 2)], NOW), Sent { sent: 3, tails: 1, ..Sent::default() });
    assert_eq!(texts(&b), [b"aa".as_slice(), b"bb", b"cc", TAIL]);
    for (bytes, count) in [(b"aabbc".as_slice(), 3), (b"aa", 1), (b"ab", 1)] {
        let segment = if count == 1 { bytes.len() } else { 2 };
        assert_eq!(a.send(&[to(there, bytes, segment)], NOW), Sent { sent: count, ..Sent::default() }, "{bytes:?}");
    }
    assert!(texts(&b).iter().all(|text| text != TAIL));
}

#[test]
fn a_full_train_has_no_room_for_a_tail_so_its_last_datagram_goes_alone() {
    // As many datagrams as a train has; as many bytes.
    for (count, segment) in [(MAX_DATAGRAMS, 100), (2, MAX_BYTES / 2), (7, MAX_BYTES / 7)] {
        let (mut a, b) = (avoiding(), any_port("127.0.0.1"));
        let all: Vec<u8> = (0..count * segment).map(|n| (n / segment).to_le_bytes()[0]).collect();
        let expected = Sent { sent: u64::try_from(count).unwrap(), tails: 1, ..Sent::default() };
        assert_eq!(a.send(&[to(b.address().unwrap(), &all, segment)], NOW), expected);
        let mut texts = texts(&b);
        let tail = texts.iter().position(|text| text == TAIL).unwrap();
        assert!(tail >= count - 1, "behind at least all but one");
        texts.remove(tail);
        assert!(texts.concat() == all, "everything else is there, in order");
    }
}

#[test]
fn without_trains_each_datagram_goes_by_itself_and_none_is_called_a_refusal() {
    let (mut a, b) = (any_port("127.0.0.1"), any_port("127.0.0.1"));
    a.set_offload(Offload { trains: false, equal_trains: false, ..Offload::default() }).unwrap();
    assert_eq!(a.send(&[to(b.address().unwrap(), b"aabbcc", 2)], NOW), Sent { sent: 3, ..Sent::default() });
    let mut inbox = Inbox::default();
    b.receive(&mut inbox, 64).unwrap();
    assert_eq!(inbox.len(), 3, "three came, not one train");
}

#[test]
fn without_joining_on_receipt_each_datagram_of_a_train_comes_by_itself() {
    let (mut a, mut b) = (any_port("127.0.0.1"), any_port("127.0.0.1"));
    b.set_offload(Offload { receive: false, ..Offload::default() }).unwrap();
    assert_eq!(a.send(&[to(b.address().unwrap(), b"aabbcc", 2)], NOW).sent, 3);
    let mut inbox = Inbox::default();
    b.receive(&mut inbox, 64).unwrap();
    assert_eq!(inbox.len(), 3);
}

#[test]
fn a_datagram_that_is_alone_leaves_without_a_control_message() {
    let a = any_port("127.0.0.1");
    let datagrams = |len: usize, segment: usize| to(a.address().unwrap(), &vec![0; len], segment);
    assert!(!a.is_train(&datagrams(1400, 1400)), "what virtio without scatter and gather refuses is not asked for");
    assert!(a.is_train(&datagrams(1401, 1400)));
}

/// Every datagram that has arrived.
fn texts(socket: &LaneSocket) -> Vec<Vec<u8>> {
    received(socket).into_iter().map(|(_, bytes)| bytes).collect()
}
