use super::*;

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
    let (a, b) = (any_port("127.0.0.1"), any_port("127.0.0.1"));
    let there = b.address().unwrap();
    let sent = a.send(&[to(there, b"one", 3), to(there, b"aabbc", 2)]);
    assert_eq!(sent, Sent { sent: 4, ..Sent::default() });
    let got = receive(&b, 4);
    let bytes: Vec<&[u8]> = got.iter().map(|datagrams| datagrams.buf.bytes()).collect();
    assert_eq!(bytes, [b"one".as_slice(), b"aa", b"bb", b"c"]);
    assert!(got.iter().all(|datagrams| datagrams.address == a.address().unwrap()));
    assert_eq!(b.receive(&mut empty(1)).unwrap(), 0, "nothing more, and no waiting");
}

#[test]
fn an_ipv6_socket_speaks_ipv4_too() {
    let (dual, v4) = (any_port("::"), any_port("127.0.0.1"));
    let port = dual.address().unwrap().port();
    v4.send(&[to(SocketAddr::from(([127, 0, 0, 1], port)), b"ask", 3)]);
    let asked = receive(&dual, 1).remove(0);
    assert_eq!(asked.address, v4.address().unwrap(), "a plain IPv4 address, not a mapped one");
    dual.send(&[to(asked.address, b"answer", 6)]);
    assert_eq!(receive(&v4, 1)[0].buf.bytes(), b"answer");
}

#[test]
fn what_does_not_fit_is_counted_and_the_rest_goes() {
    let (a, b) = (any_port("127.0.0.1"), any_port("127.0.0.1"));
    let there = b.address().unwrap();
    let too_big = to(there, &vec![0; 65_536], 65_536);
    assert_eq!(a.send(&[too_big, to(there, b"x", 1)]), Sent { sent: 1, too_big: 1, ..Sent::default() });
    let nowhere = SocketAddr::from(([255, 255, 255, 255], 9));
    assert_eq!(a.send(&[to(nowhere, b"x", 1)]), Sent { failed: 1, ..Sent::default() });
}

#[test]
fn a_taken_port_and_a_foreign_address_have_their_own_errors() {
    let first = any_port("::");
    let taken = LaneSocket::bind(first.address().unwrap()).unwrap_err();
    assert!(matches!(taken, UdpError::Taken(_)), "{taken}");
    let foreign = LaneSocket::bind("192.0.2.1:0".parse().unwrap()).unwrap_err();
    assert!(matches!(foreign, UdpError::NoAddress(_)), "{foreign}");
}
