//! The program that every frame of a guest meets before any packet filter does: it drops those that ask the kernel for a checksum where none is.
//!
//! A guest may leave a checksum to the host: it names where the sum begins and where it is written (`struct virtio_net_hdr`), and the
//! kernel believes it. Where the receiver's interface makes no checksums the kernel writes these two bytes when the frame leaves
//! (`skb_checksum_help`, net/core/dev.c), after all packet filters: with places of its own choice a guest has others read another frame than the
//! filters have. So a checksum that is left open has to be that of TCP, UDP or SCTP, at the place that the headers give it.
//!
//! A frame that is to be cut into several (GSO) is cut behind the filters, too: each part gets headers of its own, and bytes of the payload come to
//! stand where the filters have looked at those of the first. So a fragment is none, and no message that is judged by its first byte. Filters count
//! frames before they are cut: so nothing that is for a group is, and nothing is cut into more than [`PIECES`].
//!
//! Nor can a filter tell a frame that is to be cut from one that is too large for its device. What is not TCP and is to be cut bears a sign
//! until the filter has compared its length ([`crate::node::fence_sizes`]).
//!
//! What a guest's own tunnels carry is behind what any filter here reads. Its checksums may be where they are, but not before the least place
//! that something inside a tunnel can have them: in IP and GRE behind one more IP header, in UDP behind that and the UDP header.
//!
//! These instructions, as the kernel gets them, may be used under the MIT licence or the GPL, version 2, too.

use super::asm::{Call, Do, If, Mark, Program, Reg, Step, Width};
use super::btf::{Field, Types};
use crate::node::fence_sizes::TO_BE_CUT;
use crate::policy::mtu::IPV6_LEAST;
use crate::wire::ethernet::{IPV4, IPV6, SERVICE_VLAN, VLAN};
use crate::wire::virtio::{HEADERS, PIECES};

/// What the kernel calls the fields of `struct sk_buff` that the program reads, in the order of [`Places::fields`].
const FIELDS: [&str; 5] = ["ip_summed", "csum_start", "csum_offset", "head", "data"];
/// Makes the packet of the program one of the kernel's own type (kernel/bpf/helpers.c, Linux 6.2).
const CAST: &str = "bpf_cast_to_kern_ctx";
/// `CHECKSUM_PARTIAL` (linux/skbuff.h).
const PARTIAL: i32 = 3;
/// `TCX_NEXT` and `TCX_DROP` (linux/bpf.h).
pub(super) const NEXT: i32 = -1;
pub(super) const DROP: i32 = 2;
/// Helpers (linux/bpf.h).
const LOOK_UP: Call = Call::Helper(1);
const UPDATE: Call = Call::Helper(2);
const LOAD_BYTES: Call = Call::Helper(26);
/// `ifindex` of `struct __sk_buff`.
const IFINDEX: i16 = 40;
/// `gso_size` of it: not 0 where the frame is to be cut into several.
const GSO_SIZE: i16 = 176;
/// `len` and `pkt_type` of it, and what that is of what is for all and for a group (`PACKET_BROADCAST`, `PACKET_MULTICAST`, linux/if_packet.h).
const LEN: i16 = 0;
/// `priority` of it.
const PRIORITY: i16 = 32;
const PKT_TYPE: i16 = 4;
const GROUPS: [i32; 2] = [1, 2];
/// UDP ports whose messages the packet filter judges by their first byte (DHCP and DHCPv6, to servers and relays).
const JUDGED: [u16; 2] = [67, 547];
/// No checksum is open: no begin of one is so far away, which the kernel keeps in 16 bits.
const CLOSED: i32 = -(1 << 20);
/// 802.1Q tags before the type that are walked, besides one that the kernel has taken out.
const TAGS: usize = 2;
/// Extension headers of IPv6 that are walked.
const EXTENSIONS: usize = 8;
/// Protocols of IP: the first three are tunnels (IPv4, IPv6, GRE).
const TUNNELS: [i32; 3] = [4, 41, 47];
const GRE: i32 = 47;
const TCP: i32 = 6;
const UDP: i32 = 17;
const SCTP: i32 = 132;
/// Extension headers of a common shape, hop-by-hop, routing and destination, and that of a fragment.
const SHAPED: [i32; 3] = [0, 43, 60];
const FRAGMENT: i32 = 44;
/// An Ethernet header, an IPv4 header, and a UDP header.
const ETHERNET: i32 = 14;
const IP_LEAST: i32 = 20;
const UDP_LENGTH: i32 = 8;

/// The packet; the header that is looked at, from its begin; where the sum begins, from there too; where in what is summed it goes.
const PACKET: Reg = Reg(6);
const HEADER: Reg = Reg(7);
const START: Reg = Reg(8);
const OFFSET: Reg = Reg(9);
/// What calls return, and the protocol.
const R0: Reg = Reg(0);
const R1: Reg = Reg(1);
const R2: Reg = Reg(2);
const R3: Reg = Reg(3);
const R4: Reg = Reg(4);
const STACK: Reg = Reg(10);
/// Where bytes of the packet are put, and the key of a counter.
const BYTES: i16 = -16;
const KEY: i16 = -24;

/// What the program has to know of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    /// Number of [`CAST`].
    pub(super) cast: i32,
    /// Byte and mask of the two bits of `ip_summed`, and what they are where a checksum is open.
    pub(super) summed: (i16, i32, i32),
    /// Bytes of the other four of [`FIELDS`].
    pub(super) fields: [i16; 4],
}

impl Places {
    /// Out of the kernel's own description. None where something is missing, or is not as the program needs it.
    pub(super) fn find(types: &Types<'_>) -> Option<Self> {
        let cast = i32::try_from(types.function(CAST)?).ok()?;
        let [summed, rest @ ..] = types.fields("sk_buff", FIELDS)?;
        let shift = summed.bit % 8;
        // Else bits are counted from the other end.
        if summed.bits != 2 || shift > 6 || cfg!(target_endian = "big") {
            return None;
        }
        let whole =
            |field: Field| i16::try_from(field.bit / 8).ok().filter(|_| field.bit.is_multiple_of(8) && field.bits == 0);
        let [start, offset, head, data] = rest.map(whole);
        let at = i16::try_from(summed.bit / 8).ok()?;
        Some(Self { cast, summed: (at, 3 << shift, PARTIAL << shift), fields: [start?, offset?, head?, data?] })
    }
}

/// Marks of the program's ends.
#[derive(Debug, Clone, Copy)]
struct Ends {
    pass: Mark,
    drop: Mark,
    /// The protocol is in [`R0`] and its header at [`HEADER`].
    upper: Mark,
}

/// The program. `counts` is the descriptor of a table: what was dropped, by number of the interface, and of all of them at 0.
pub(super) fn program(places: &Places, counts: i32) -> Option<Vec<Step>> {
    let mut to = Program::default();
    let ends = Ends { pass: to.mark(), drop: to.mark(), upper: to.mark() };
    let (four, six) = (to.mark(), to.mark());
    open_only(&mut to, places, ends);
    types(&mut to, ends, four, six);
    to.set(four);
    ipv4(&mut to, ends);
    to.set(six);
    ipv6(&mut to, ends);
    to.set(ends.upper);
    upper(&mut to, ends);
    to.set(ends.drop);
    count(&mut to, counts);
    to.end(DROP);
    to.finish()
}

/// Passes all that leaves no checksum open and is not to be cut, and finds where the others have it.
fn open_only(to: &mut Program, places: &Places, ends: Ends) {
    let (partial, cut, found) = (to.mark(), to.mark(), to.mark());
    let ((summed, mask, open), [start, offset, head, data]) = (places.summed, places.fields);
    to.alu(Do::Move, PACKET, R1);
    to.call(Call::Kernel(places.cast));
    to.load(Width::Byte, R1, R0, summed);
    to.alu(Do::And, R1, mask);
    to.jump_if(If::Equal, R1, open, partial);
    to.load(Width::Word, R1, PACKET, GSO_SIZE);
    to.jump_if(If::Different, R1, 0, cut);
    to.set(ends.pass);
    to.end(NEXT);
    to.set(cut);
    to.alu(Do::Move, START, CLOSED);
    to.alu(Do::Move, OFFSET, 0);
    to.jump(found);
    to.set(partial);
    // From `head` to from `data`, which is where helpers read from: the begin of the Ethernet header.
    to.load(Width::Double, START, R0, head);
    to.load(Width::Half, R1, R0, start);
    to.alu(Do::Add, START, R1);
    to.load(Width::Double, R1, R0, data);
    to.alu(Do::Subtract, START, R1);
    to.load(Width::Half, OFFSET, R0, offset);
    to.set(found);
    counted(to, ends);
}

/// Drops what would be cut into frames that no filter has counted.
fn counted(to: &mut Program, ends: Ends) {
    let whole = to.mark();
    to.load(Width::Word, R1, PACKET, GSO_SIZE);
    to.jump_if(If::Equal, R1, 0, whole);
    to.load(Width::Word, R2, PACKET, PKT_TYPE);
    for group in GROUPS {
        to.jump_if(If::Equal, R2, group, ends.drop);
    }
    to.alu(Do::ShiftLeft, R1, PIECES.ilog2().cast_signed());
    to.alu(Do::Add, R1, i32::from(HEADERS));
    to.load(Width::Word, R2, PACKET, LEN);
    to.jump_if(If::Below, R1, R2, ends.drop);
    to.set(whole);
}

/// Bytes of the packet, from [`HEADER`] and `distance` on, to [`BYTES`].
fn read(to: &mut Program, distance: i32, length: i32, ends: Ends) {
    to.alu(Do::Move, R1, PACKET);
    to.alu(Do::Move, R2, HEADER);
    to.alu(Do::Add, R2, distance);
    to.alu(Do::Move, R3, STACK);
    to.alu(Do::Add, R3, i32::from(BYTES));
    to.alu(Do::Move, R4, length);
    to.call(LOAD_BYTES);
    to.jump_if(If::Different, R0, 0, ends.drop);
}

/// Two bytes as a load finds them.
fn raw(value: u16) -> i32 {
    u16::from_ne_bytes(value.to_be_bytes()).into()
}

fn types(to: &mut Program, ends: Ends, four: Mark, six: Mark) {
    to.alu(Do::Move, HEADER, ETHERNET);
    for tag in 0..=TAGS {
        read(to, -2, 2, ends);
        to.load(Width::Half, R1, STACK, BYTES);
        to.jump_if(If::Equal, R1, raw(IPV4), four);
        to.jump_if(If::Equal, R1, raw(IPV6), six);
        if tag < TAGS {
            let tagged = to.mark();
            to.jump_if(If::Equal, R1, raw(VLAN), tagged);
            to.jump_if(If::Different, R1, raw(SERVICE_VLAN), ends.drop);
            to.set(tagged);
            to.alu(Do::Add, HEADER, 4);
        }
    }
    to.jump(ends.drop);
}

fn ipv4(to: &mut Program, ends: Ends) {
    read(to, 0, 10, ends);
    // More fragments, or not the first.
    to.load(Width::Half, R1, STACK, BYTES + 6);
    to.alu(Do::And, R1, raw(0x3fff));
    to.jump_if(If::Different, R1, 0, ends.drop);
    to.load(Width::Byte, R1, STACK, BYTES);
    to.alu(Do::Move, R2, R1);
    to.alu(Do::ShiftRight, R2, 4);
    to.jump_if(If::Different, R2, 4, ends.drop);
    to.alu(Do::And, R1, 0x0f);
    to.jump_if(If::Below, R1, 5, ends.drop);
    to.alu(Do::ShiftLeft, R1, 2);
    to.alu(Do::Add, HEADER, R1);
    to.load(Width::Byte, R0, STACK, BYTES + 9);
    to.jump(ends.upper);
}

fn ipv6(to: &mut Program, ends: Ends) {
    read(to, 0, 8, ends);
    to.load(Width::Byte, R1, STACK, BYTES);
    to.alu(Do::ShiftRight, R1, 4);
    to.jump_if(If::Different, R1, 6, ends.drop);
    to.load(Width::Byte, R0, STACK, BYTES + 6);
    to.alu(Do::Add, HEADER, 40);
    for _ in 0..EXTENSIONS {
        let (shaped, next) = (to.mark(), to.mark());
        for kind in SHAPED {
            to.jump_if(If::Equal, R0, kind, shaped);
        }
        to.jump_if(If::Different, R0, FRAGMENT, ends.upper);
        read(to, 0, 4, ends);
        to.load(Width::Half, R1, STACK, BYTES + 2);
        to.alu(Do::And, R1, raw(0xfff9));
        to.jump_if(If::Different, R1, 0, ends.drop);
        to.alu(Do::Move, R1, 8);
        to.jump(next);
        to.set(shaped);
        read(to, 0, 2, ends);
        to.load(Width::Byte, R1, STACK, BYTES + 1);
        to.alu(Do::Add, R1, 1);
        to.alu(Do::ShiftLeft, R1, 3);
        to.set(next);
        to.alu(Do::Add, HEADER, R1);
        to.load(Width::Byte, R0, STACK, BYTES);
    }
}

/// Drops messages that are judged by their first byte where they are to be cut; the protocol is in [`R0`] before and after.
fn judged(to: &mut Program, ends: Ends) {
    let other = to.mark();
    to.jump_if(If::Different, R0, UDP, other);
    to.load(Width::Word, R1, PACKET, GSO_SIZE);
    to.jump_if(If::Equal, R1, 0, other);
    read(to, 2, 2, ends);
    to.load(Width::Half, R1, STACK, BYTES);
    for port in JUDGED {
        to.jump_if(If::Equal, R1, raw(port), ends.drop);
    }
    to.alu(Do::Move, R0, UDP);
    to.set(other);
}

/// Gives a frame that is to be cut its sign, where the filter compares lengths, and where nobody has given it another priority; the protocol is
/// in [`R0`].
fn signed(to: &mut Program) {
    let other = to.mark();
    to.jump_if(If::Equal, R0, TCP, other);
    to.load(Width::Word, R1, PACKET, GSO_SIZE);
    to.jump_if(If::Equal, R1, 0, other);
    to.load(Width::Word, R1, PACKET, PRIORITY);
    to.jump_if(If::Different, R1, 0, other);
    to.load(Width::Word, R1, PACKET, LEN);
    to.jump_if(If::Below, R1, ETHERNET + i32::from(IPV6_LEAST) + 1, other);
    to.alu(Do::Move, R1, TO_BE_CUT.cast_signed());
    to.store(Width::Word, PACKET, PRIORITY, R1);
    to.set(other);
}

fn upper(to: &mut Program, ends: Ends) {
    let (udp, sctp, starts, carried, inside) = (to.mark(), to.mark(), to.mark(), to.mark(), to.mark());
    judged(to, ends);
    signed(to);
    to.jump_if(If::Equal, START, CLOSED, ends.pass);
    // GRE has a checksum of its own (RFC 2784 section 2.1), which Linux leaves open.
    let not_gre = to.mark();
    to.jump_if(If::Different, R0, GRE, not_gre);
    to.jump_if(If::Different, OFFSET, 4, inside);
    to.jump_if(If::Equal, START, HEADER, ends.pass);
    to.set(not_gre);
    for tunnel in TUNNELS {
        to.jump_if(If::Equal, R0, tunnel, inside);
    }
    to.jump_if(If::Equal, R0, UDP, udp);
    to.jump_if(If::Equal, R0, SCTP, sctp);
    to.jump_if(If::Different, R0, TCP, ends.drop);
    to.jump_if(If::Different, OFFSET, 16, ends.drop);
    to.set(starts);
    to.jump_if(If::Equal, START, HEADER, ends.pass);
    to.jump(ends.drop);
    to.set(sctp);
    to.jump_if(If::Different, OFFSET, 8, ends.drop);
    to.jump(starts);
    to.set(udp);
    to.jump_if(If::Different, START, HEADER, carried);
    to.jump_if(If::Equal, OFFSET, 6, ends.pass);
    to.jump(ends.drop);
    to.set(carried);
    to.alu(Do::Add, HEADER, UDP_LENGTH);
    to.set(inside);
    to.alu(Do::Add, HEADER, IP_LEAST);
    to.jump_if(If::AtLeast, START, HEADER, ends.pass);
}

/// Counts a frame for all, and for its interface.
fn count(to: &mut Program, counts: i32) {
    for of_interface in [false, true] {
        let (known, done) = (to.mark(), to.mark());
        if of_interface {
            to.load(Width::Word, R1, PACKET, IFINDEX);
            to.store(Width::Word, STACK, KEY, R1);
        } else {
            to.store(Width::Word, STACK, KEY, 0);
        }
        entry(to, counts);
        to.call(LOOK_UP);
        to.jump_if(If::Different, R0, 0, known);
        to.store(Width::Double, STACK, BYTES, 1);
        entry(to, counts);
        to.alu(Do::Move, R3, STACK);
        to.alu(Do::Add, R3, i32::from(BYTES));
        // BPF_NOEXIST: another processor may have been faster, and its count stays.
        to.alu(Do::Move, R4, 1);
        to.call(UPDATE);
        to.jump(done);
        to.set(known);
        to.alu(Do::Move, R1, 1);
        to.add_shared(R0, R1);
        to.set(done);
    }
}

/// The table, and the key in it, as calls want them.
fn entry(to: &mut Program, counts: i32) {
    to.table(R1, counts);
    to.alu(Do::Move, R2, STACK);
    to.alu(Do::Add, R2, i32::from(KEY));
}

#[cfg(test)]
#[path = "checksum_tests.rs"]
mod tests;
