use super::*;
use crate::lab::layout::Shape;

fn eyes() -> (Eye, Eye) {
    let layout = Shape::uniform("lab".into(), 1500, 2, 2, 1).unwrap().layout().unwrap();
    let eye = |i: usize| Eye::new(Expect::of(&layout, &layout.wires[i]));
    (eye(0), eye(2))
}

struct Packet {
    from: [u8; 4],
    to: [u8; 4],
    ttl: u8,
    protocol: u8,
    ports: (u16, u16),
}

impl Packet {
    fn with(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xaa; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0, 0, self.ttl, self.protocol, 0, 0]);
        frame.extend(self.from);
        frame.extend(self.to);
        frame.extend(self.ports.0.to_be_bytes());
        frame.extend(self.ports.1.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(payload);
        frame
    }
}

const PLAIN: Packet = Packet { from: [10, 1, 0, 1], to: [10, 1, 0, 2], ttl: 255, protocol: 17, ports: (50000, 4789) };
const TUNNEL: Packet =
    Packet { from: [198, 18, 1, 1], to: [198, 18, 2, 1], ttl: 64, protocol: 17, ports: (51820, 51820) };

fn vxlan(inner: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x08, 0, 0, 0, 0, 0, 10, 0];
    bytes.extend(inner);
    bytes
}

fn guest_frame() -> Vec<u8> {
    let mut frame = vec![0x02, 0x76, 0x78, 1, 2, 1, 0x02, 0x76, 0x78, 1, 1, 1, 0x08, 0x00];
    frame.extend([0x45; 40]);
    frame
}

#[test]
fn plain_vxlan_is_for_nodes_of_the_pdc_on_their_admin_wire_only() {
    let (admin, internet) = eyes();
    let inner = vxlan(&guest_frame());
    assert_eq!(admin.classify(&PLAIN.with(&inner)), Class::Vxlan);
    assert_eq!(internet.classify(&PLAIN.with(&inner)), Class::Clear);
    let strangers = [
        Packet { to: [10, 2, 0, 1], ..PLAIN },
        Packet { from: [10, 1, 0, 9], ..PLAIN },
        Packet { ttl: 64, ..PLAIN },
        Packet { ports: (50000, 8472), ..PLAIN },
    ];
    for stranger in strangers {
        assert_eq!(admin.classify(&stranger.with(&inner)), Class::Clear);
    }
    let across = Packet { ports: (50000, 4789), ..TUNNEL };
    assert_eq!(internet.classify(&across.with(&inner)), Class::Clear);
}

#[test]
fn an_encrypted_pdc_may_not_show_vxlan_either() {
    let mut shape = Shape::uniform("lab".into(), 1500, 1, 2, 1).unwrap();
    shape.pdcs[0].encrypted = true;
    let layout = shape.layout().unwrap();
    let eye = Eye::new(Expect::of(&layout, &layout.wires[0]));
    assert_eq!(eye.classify(&PLAIN.with(&vxlan(&guest_frame()))), Class::Clear);
}

#[test]
fn wireguard_is_known_by_its_messages_between_nodes() {
    let (_, internet) = eyes();
    for (kind, length) in [(1, 148), (2, 92), (3, 64), (4, 32), (4, 1456)] {
        let mut message = vec![0x5a; length];
        message[..4].copy_from_slice(&[kind, 0, 0, 0]);
        assert_eq!(internet.classify(&TUNNEL.with(&message)), Class::Wireguard, "{kind} {length}");
        assert_eq!(internet.classify(&TUNNEL.with(&message[1..])), Class::Other, "{kind} without its first byte");
    }
    let mut data = vec![0x5a; 64];
    data[..4].copy_from_slice(&[4, 0, 0, 0]);
    let stranger = Packet { from: [198, 18, 1, 77], ..TUNNEL };
    assert_eq!(internet.classify(&stranger.with(&data)), Class::Other);
}

#[test]
fn anything_of_a_guest_is_found_wherever_it_hides() {
    let (_, internet) = eyes();
    let mut data = vec![4, 0, 0, 0];
    data.resize(12 * 16, 0x5a);
    assert_eq!(internet.classify(&TUNNEL.with(&data)), Class::Wireguard);
    let hidden: [&[u8]; 3] = [&[0x02, 0x76, 0x78, 2, 1, 1], &[192, 168, 10, 11, 192, 168, 10, 14], b"vxmesh-in-clear!"];
    for secret in hidden {
        let mut message = data.clone();
        message[101..101 + secret.len()].copy_from_slice(secret);
        assert_eq!(internet.classify(&TUNNEL.with(&message)), Class::Clear, "{secret:?}");
    }
    // A guest's ARP that escaped as it is.
    let mut arp = vec![0xff; 6];
    arp.extend([0x02, 0x76, 0x78, 1, 1, 1, 0x08, 0x06]);
    arp.resize(60, 0);
    assert_eq!(internet.classify(&arp), Class::Clear);
}

#[test]
fn management_and_housekeeping_are_told_apart_from_the_rest() {
    let (admin, internet) = eyes();
    let api = Packet { from: [198, 18, 255, 1], to: [198, 18, 1, 1], ttl: 64, protocol: 6, ports: (7443, 40000) };
    assert_eq!(internet.classify(&api.with(&[0; 20])), Class::Management);
    let ssh = Packet { ports: (22, 40000), ..api };
    assert_eq!(internet.classify(&ssh.with(&[0; 20])), Class::Other);
    let mut quoted = vec![0; 40];
    let unreachable = Packet { protocol: 1, ..TUNNEL };
    assert_eq!(internet.classify(&unreachable.with(&quoted)), Class::Housekeeping);
    quoted[7..13].copy_from_slice(&[0x02, 0x76, 0x78, 1, 1, 1]);
    assert_eq!(internet.classify(&unreachable.with(&quoted)), Class::Clear, "an error that quotes a guest");
    let inside = Packet { protocol: 1, ..PLAIN };
    assert_eq!(admin.classify(&inside.with(&quoted)), Class::Housekeeping, "where plain VXLAN is allowed");
    let mut arp = vec![0xff; 12];
    arp.extend([0x08, 0x06]);
    arp.resize(42, 0);
    assert_eq!(admin.classify(&arp), Class::Housekeeping);
    assert_eq!(admin.classify(&[]), Class::Other);
    for length in 0..arp.len() {
        admin.classify(&arp[..length]);
        admin.classify(&PLAIN.with(&[])[..length]);
    }
}
