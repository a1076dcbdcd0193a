//! Headers, each by itself.

use std::fmt::Debug;
use std::net::Ipv6Addr;

use vxmesh::wire::arp::Arp;
use vxmesh::wire::compact::Compact;
use vxmesh::wire::ethernet::Ethernet;
use vxmesh::wire::icmp::FragmentationNeeded;
use vxmesh::wire::icmp6::PacketTooBig;
use vxmesh::wire::ip::{Ipv4, Ipv6};
use vxmesh::wire::nd::{self, Advertisement, Solicitation};
use vxmesh::wire::oam::Oam;
use vxmesh::wire::ping::Ping;
use vxmesh::wire::udp::Udp;
use vxmesh::wire::vlan::Tag;
use vxmesh::wire::vxlan::Vxlan;
use vxmesh::wire::{Header, tcp};

/// Where messages of IPv6 are said to come from and go to: their checksums need it.
const ENDS: (Ipv6Addr, Ipv6Addr) =
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 2));

/// `which (1) | bytes`: what is read is written again and read the same, whatever the header.
pub fn headers(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 14 {
        0 => again::<Ethernet>(bytes),
        1 => again::<Tag>(bytes),
        2 => again::<Arp>(bytes),
        3 => ipv4(bytes),
        4 => again::<Ipv6>(bytes),
        5 => again::<Udp>(bytes),
        6 => again::<Vxlan>(bytes),
        7 => compact(bytes),
        8 => again::<Oam>(bytes),
        9 => again::<Ping>(bytes),
        10 => discovery(bytes),
        11 => errors(bytes),
        12 => drop(tcp::all_mss(bytes).count()),
        _ => frame(bytes),
    }
}

fn again<H: Header + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(header) = H::parse(bytes) else { return };
    let mut out = vec![0; H::LEN];
    header.emit(&mut out).expect("there is room");
    assert_eq!(H::parse(&out).as_ref(), Ok(&header), "{}", H::NAME);
    assert!(header.emit(&mut out[..H::LEN - 1]).is_err(), "{} needs its room", H::NAME);
    let (same, rest) = H::split(bytes).expect("it was read before");
    assert_eq!((same, rest.len()), (header, bytes.len() - H::LEN));
}

fn ipv4(bytes: &[u8]) {
    if let Ok(header) = Ipv4::parse(bytes) {
        // Options are read over and never written.
        if header.header_len() == Ipv4::LEN {
            again::<Ipv4>(bytes);
        }
        let _ = (header.header_len(), header.is_fragment(), header.checksum_holds(bytes));
    }
}

fn compact(bytes: &[u8]) {
    again::<Compact>(bytes);
    if let Ok(header) = Compact::parse(bytes)
        && let Ok(len) = header.unpadded(bytes.len())
    {
        assert!(len <= bytes.len(), "padding is taken off, not put on");
    }
}

/// Neighbour discovery: both messages, whichever it is.
fn discovery(bytes: &[u8]) {
    let (from, to) = ENDS;
    let _ = nd::checksum_holds(bytes, from, to);
    let mut out = [0; 256];
    if let Ok(asked) = Solicitation::parse(bytes) {
        let len = asked.emit(&mut out, from, to).expect("there is room");
        assert!(nd::checksum_holds(&out[..len], from, to));
        assert_eq!(Solicitation::parse(&out[..len]), Ok(asked));
    }
    if let Ok(told) = Advertisement::parse(bytes) {
        let len = told.emit(&mut out, from, to).expect("there is room");
        assert!(nd::checksum_holds(&out[..len], from, to));
        assert_eq!(Advertisement::parse(&out[..len]), Ok(told));
    }
}

/// What routers say of sizes.
fn errors(bytes: &[u8]) {
    let (from, to) = ENDS;
    let _ = FragmentationNeeded::parse(bytes);
    let _ = PacketTooBig::parse(bytes, from, to);
}

/// A frame, header by header, as deep as it goes.
fn frame(bytes: &[u8]) {
    let Ok((ethernet, mut rest)) = Ethernet::split(bytes) else { return };
    let mut ethertype = ethernet.ethertype;
    while matches!(ethertype, 0x8100 | 0x88a8) {
        let Ok((tag, inner)) = Tag::split(rest) else { return };
        (ethertype, rest) = (tag.ethertype, inner);
    }
    match ethertype {
        0x0806 => again::<Arp>(rest),
        0x0800 => ipv4(rest),
        0x86dd => {
            again::<Ipv6>(rest);
            if let Ok((_, message)) = Ipv6::split(rest) {
                discovery(message);
            }
        }
        _ => {}
    }
}
