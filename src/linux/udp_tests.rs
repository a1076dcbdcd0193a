use std::time::Duration;

use super::*;

const NOW: Mono = Mono::from_nanos(1_000_000_000);

fn any_port(ip: &str) -> LaneSocket {
    LaneSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap()
}

fn to(address: SocketAddr, bytes: &[u8], segment: usize) -> Datagrams {
    let mut buf = Buf::default();
    buf.copy_from(bytes);
    Datagrams { address, buf, segment }
}

fn empty(count: usize) -> Vec<Datagrams> {
    (0..count).map(|_| to(SocketAddr::from(([0, 0, 0, 0], 0)), &[], 0)).collect()
}

/// Receives `count` datagrams; loopback delivers them before `send` returns.
fn receive(socket: &LaneSocket, count: usize) -> Vec<Datagrams> {
    let mut batch = empty(count + 1);
    assert_eq!(socket.receive(&mut batch).unwrap(), count);
    batch.truncate(count);
    batch
}

#[test]
fn batches_cross_in_order_and_a_buffer_may_hold_several() {
    let (mut a, b) = (any_port("127.0.0.1"), any_port("127.0.0.1"));
    let there = b.address().unwrap();
    let sent = a.send(&[to(there, b"one", 3), to(there, b"aabbc", 2)], NOW);
    assert_eq!(sent, Sent { sent: 4, ..Sent::default() });
    let got = receive(&b, 4);
    let bytes: Vec<&[u8]> = got.iter().map(|datagrams| datagrams.buf.bytes()).collect();
    assert_eq!(bytes, [b"one".as_slice(), b"aa", b"bb", b"c"]);
    assert!(got.iter().all(|datagrams| datagrams.address == a.address().unwrap()));
    assert_eq!(b.receive(&mut empty(1)).unwrap(), 0, "nothing more, and no waiting");
}

#[test]
fn an_ipv6_socket_speaks_ipv4_too() {
    let (mut dual, mut v4) = (any_port("::"), any_port("127.0.0.1"));
    let port = dual.address().unwrap().port();
    v4.send(&[to(SocketAddr::from(([127, 0, 0, 1], port)), b"ask", 3)], NOW);
    let asked = receive(&dual, 1).remove(0);
    assert_eq!(asked.address, v4.address().unwrap(), "a plain IPv4 address, not a mapped one");
    dual.send(&[to(asked.address, b"answer", 6)], NOW);
    assert_eq!(receive(&v4, 1)[0].buf.bytes(), b"answer");
}

#[test]
fn what_does_not_fit_is_counted_and_the_rest_goes() {
    let (mut a, b) = (any_port("127.0.0.1"), any_port("127.0.0.1"));
    let there = b.address().unwrap();
    let too_big = to(there, &vec![0; 65_508], 65_508);
    assert_eq!(a.send(&[too_big, to(there, b"x", 1)], NOW), Sent { sent: 1, too_big: 1, ..Sent::default() });
    let nowhere = SocketAddr::from(([255, 255, 255, 255], 9));
    assert_eq!(a.send(&[to(nowhere, b"x", 1)], NOW), Sent { failed: 1, ..Sent::default() });
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
    assert_eq!(sent, Sent { failed: 2, ..Sent::default() });
    assert!(a.refusals.allow(nowhere, NOW));
}

/// The bytes of everything that has arrived.
fn arrived(socket: &LaneSocket) -> Vec<u8> {
    let mut batch = empty(256);
    let count = socket.receive(&mut batch).unwrap();
    batch[..count].iter().flat_map(|datagrams| datagrams.buf.bytes().to_vec()).collect()
}
