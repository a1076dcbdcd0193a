//! Checksums that guests leave to the host: made where they belong, and nowhere else, judged by what a receiver gets whose interface makes none.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use vxmesh::linux::checksums::{Checks, Program};
use vxmesh::linux::tap::{self, Offloads, Tap};
use vxmesh::linux::{Kernel, netns, sys};
use vxmesh::node::op::Op;
use vxmesh::node::reconcile;
use vxmesh::types::Mac;
use vxmesh::wire::Header;
use vxmesh::wire::virtio::{Gso, Virtio};

use crate::harness::{Space, can_run, guest, succeed, wait_until};
use crate::labs::{Lab, ctl, said};
use crate::node::{BRIDGE, behind, host, local, planned, settle, slice, text};
use crate::pretend::{Plug, arp, eth, tag};

const LIAR: Mac = Mac([2, 0x55, 0, 0, 0, 0x0a]);
const EAR: Mac = Mac([2, 0x55, 0, 0, 0, 0x0b]);
const LIAR4: [u8; 4] = [192, 168, 10, 71];
const EAR4: [u8; 4] = [192, 168, 10, 72];
/// VLAN in which both have a second row.
const VLAN: u16 = 9;
/// `BPF_TCX_INGRESS`; `BPF_F_BEFORE`: the first of all.
const INGRESS: u32 = 46;
const FIRST: u32 = 8;

fn six(last: u8) -> [u8; 16] {
    [0xfd, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

fn rows() -> Value {
    let mut rows = json!({
        "default/10/-/02:00:00:00:00:01": behind("g1", "a", &["192.168.10.11"], &["fd10::11"]),
        "default/10/-/02:00:00:00:00:02": behind("g2", "a", &["192.168.10.12"], &["fd10::12"]),
    });
    for at in ["default/10/-", "default/10/9"] {
        rows[format!("{at}/{LIAR}")] = behind("liar", "a", &["192.168.10.71"], &["fd10::71"]);
        rows[format!("{at}/{EAR}")] = behind("ear", "a", &["192.168.10.72"], &["fd10::72"]);
    }
    rows
}

/// None, and loud about it, where the kernel cannot check.
fn program() -> Option<Program> {
    Program::load().inspect_err(|why| eprintln!("SKIPPED: {why}")).ok()
}

/// A node with one who lies and one who listens without offloads.
struct Stage {
    host: Space,
    kernel: Kernel,
    liar: Tap,
    ear: Plug,
}

impl Stage {
    fn new(tag: &str, checks: Checks) -> Self {
        let host = host(tag, "10.9.0.1");
        host.sh("for it in iptables ip6tables arptables; do sysctl -q -w net.bridge.bridge-nf-call-$it=0 2>/dev/null || true; done");
        let kernel = host.enter(|| Kernel::new().unwrap().with_checks(checks));
        let mut stage = {
            let name = "liar".parse().unwrap();
            host.sh("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1");
            let liar = host.enter(|| {
                tap::create_persistent(&name).unwrap();
                Tap::attach(&name, Offloads::None).unwrap()
            });
            let ear = Plug::make(&host, "ear");
            Self { host, kernel, liar, ear }
        };
        // The bridge first.
        stage.settle();
        stage.host.sh(&format!("for it in liar ear; do ip link set $it master {BRIDGE} up; done"));
        stage.settle();
        stage
    }

    /// As `meshd` does; returns what had to be done.
    fn settle(&mut self) -> Vec<Op> {
        let plan = planned(&slice("a", rows()), &local("10.9.0.1"));
        let kernel = &mut self.kernel;
        let (done, left, _) = self.host.enter(|| settle(kernel, &plan));
        assert_eq!(text(&left), "");
        done
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        self.host.enter(|| self.kernel.guest_counters().unwrap())
    }

    fn index(&self, name: &str) -> u32 {
        self.host.sh(&format!("cat /sys/class/net/{name}/ifindex")).trim().parse().unwrap()
    }

    fn programs(&self, name: &str) -> Vec<u32> {
        let (index, mut numbers) = (self.index(name), [0; 64]);
        let (count, _) = self.host.enter(|| sys::bpf_programs(index, INGRESS, &mut numbers)).unwrap();
        numbers[..count].to_vec()
    }

    /// False where the kernel itself refuses such a header.
    fn say(&self, virtio: Virtio, frame: &[u8]) -> bool {
        let mut bytes = vec![0; Virtio::LEN];
        virtio.emit(&mut bytes).unwrap();
        bytes.extend(frame);
        self.liar.write_headed(&bytes).is_ok()
    }

    /// All that the liar has said until now, as the other one hears it.
    fn heard(&self) -> Vec<Vec<u8>> {
        let last = arp(LIAR, LIAR, LIAR4.into());
        assert!(self.say(Virtio::default(), &last));
        let all = self.ear.heard_until(&last);
        all.into_iter().filter(|frame| frame[6..12] == LIAR.0 && *frame != last).collect()
    }
}

/// A frame, where the header of its upper layer begins, and where in that the checksum is.
struct Kind {
    what: &'static str,
    frame: Vec<u8>,
    start: usize,
    offset: usize,
}

fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut header = [&[0x45, 0][..], &length, &[0, 1, 0, 0, 64, protocol, 0, 0], &LIAR4, &EAR4].concat();
    let sum = sum(&header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    [header, payload.to_vec()].concat()
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0x60, 0, 0, 0][..], &length, &[next, 64], &six(0x71), &six(0x72), payload].concat()
}

/// RFC 1071.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

fn udp() -> Vec<u8> {
    [&[0x1f, 0x40, 0x1f, 0x41, 0, 48, 0, 0][..], &[0x5a; 40]].concat()
}

fn tcp(payload: usize) -> Vec<u8> {
    let header = [0x1f, 0x40, 0x1f, 0x41, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0];
    [&header[..], &vec![0x5a; payload]].concat()
}

fn kinds() -> Vec<Kind> {
    let kind = |what, ethertype, packet: &[u8], start, offset| {
        let frame = eth(EAR, LIAR, ethertype, packet);
        Kind { what, frame, start, offset }
    };
    let mut behind_options = vec![17, 0, 1, 4, 0, 0, 0, 0];
    behind_options.extend(udp());
    let mut kinds = vec![
        kind("IPv4, UDP", 0x0800, &v4(17, &udp()), 34, 6),
        kind("IPv4, TCP", 0x0800, &v4(6, &tcp(40)), 34, 16),
        kind("IPv6, UDP", 0x86dd, &v6(17, &udp()), 54, 6),
        kind("IPv6, TCP", 0x86dd, &v6(6, &tcp(40)), 54, 16),
        kind("IPv6 with a header of options, UDP", 0x86dd, &v6(60, &behind_options), 62, 6),
    ];
    let tagged = |kind: &Kind| {
        let (frame, start) = (tag(VLAN, &kind.frame), kind.start + 4);
        Kind { what: "tagged", frame, start, offset: kind.offset }
    };
    let more: Vec<Kind> = kinds.iter().map(tagged).collect();
    kinds.extend(more);
    kinds
}

/// What has no checksum that a host makes: with no right place.
fn others() -> Vec<Kind> {
    let answer = [&[0, 1, 8, 0, 6, 4, 0, 2][..], &LIAR.0, &LIAR4, &EAR.0, &EAR4, &[0; 18]].concat();
    let echo = [8, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8];
    let kind = |what, ethertype, packet: &[u8], start| Kind {
        what,
        frame: eth(EAR, LIAR, ethertype, packet),
        start,
        offset: 2,
    };
    vec![
        kind("ARP", 0x0806, &answer, 20),
        kind("ICMP", 0x0800, &v4(1, &echo), 34),
        kind("ICMPv6", 0x86dd, &v6(58, &[&[128][..], &echo[1..]].concat()), 54),
    ]
}

fn open(start: usize, offset: usize) -> Virtio {
    let [csum_start, csum_offset] = [start, offset].map(|place| u16::try_from(place).unwrap());
    Virtio { needs_checksum: true, csum_start, csum_offset, ..Virtio::default() }
}

/// Places that are wrong in every way, by frame: start, offset, both, odd, and beyond its end.
fn wrong(kind: &Kind, has_right: bool) -> Vec<(usize, usize)> {
    let (start, offset, length) = (kind.start, kind.offset, kind.frame.len());
    let starts = [0, 6, 12, 13, 14, 20, 22, 26, start - 2, start - 1, start, start + 1, start + 2, start + 8];
    let offsets = [0, 1, 2, offset - 2, offset - 1, offset, offset + 1, offset + 2, 10, 16];
    let mut all: BTreeSet<(usize, usize)> =
        starts.iter().flat_map(|start| offsets.map(|offset| (*start, offset))).collect();
    all.extend([(length, 0), (length - 1, 0), (start, length), (0xffff, 0), (0, 0xffff), (0xffff, 0xffff)]);
    all.retain(|place| !(has_right && *place == (start, offset)));
    all.into_iter().collect()
}

/// How many frames with a checksum at a wrong place came to the other guest.
fn tricked(stage: &Stage) -> usize {
    let mut came = 0;
    for (kind, has_right) in kinds().iter().map(|kind| (kind, true)).chain(others().iter().map(|kind| (kind, false))) {
        for places in wrong(kind, has_right).chunks(50) {
            for (start, offset) in places {
                // The kernel refuses some of them itself.
                let _ = stage.say(open(*start, *offset), &kind.frame);
            }
            came += stage.heard().len();
        }
    }
    came
}

#[test]
fn no_checksum_is_made_but_where_the_headers_of_a_frame_have_one() {
    let Some(program) = can_run().then(program).flatten() else { return };
    let mut stage = Stage::new("sums", Checks::new(Ok(program), BTreeSet::new()));
    assert_eq!(tricked(&stage), 0);
    let refused = stage.counters()["guest_checksum"];
    assert!(refused > 500, "{refused}");
    let Stage { host, kernel, .. } = &mut stage;
    let told = host.enter(|| kernel.refused_guests("checksum").unwrap());
    assert_eq!(told.iter().map(|one| (one.interface.as_str(), one.frames)).collect::<Vec<_>>(), [("liar", refused)]);
    assert_eq!(host.enter(|| kernel.refused_guests("checksum").unwrap()), [], "told once");
    for kind in kinds() {
        assert!(stage.say(open(kind.start, kind.offset), &kind.frame));
        let field = kind.start + kind.offset;
        let mut right = kind.frame.clone();
        let made = sum(&right[kind.start..]).to_be_bytes();
        right[field..field + 2].copy_from_slice(&made);
        assert_eq!(stage.heard(), [right], "{}", kind.what);
    }
    assert_eq!(stage.counters()["guest_checksum"], refused);
}

#[test]
fn without_the_check_guests_change_frames_behind_the_packet_filter() {
    if !can_run() {
        return;
    }
    // What the other tests are worth: here the trick works, and they would see it.
    let stage = Stage::new("bare", Checks::default());
    let came = tricked(&stage);
    assert!(came > 500, "{came}");
    assert_eq!(stage.counters().get("guest_checksum"), None);
}

#[test]
fn where_the_kernel_cannot_check_the_rest_goes_on_and_a_finding_says_so() {
    if !can_run() {
        return;
    }
    let mut stage = Stage::new("cannot", Checks::new(Err("no BTF".into()), BTreeSet::new()));
    assert!(stage.say(Virtio::default(), &kinds()[0].frame));
    assert_eq!(stage.heard().len(), 1);
    let plan = planned(&slice("a", rows()), &local("10.9.0.1"));
    let kernel = &mut stage.kernel;
    let findings = stage.host.enter(|| reconcile::conflicts(&plan.desired, &kernel.observe().unwrap()));
    assert_eq!(findings.iter().map(|finding| finding.code.as_str()).collect::<Vec<_>>(), ["M0616"], "{findings:?}");
    assert!(findings[0].what.contains("no BTF"), "{findings:?}");
}

#[test]
fn super_frames_of_guests_pass_and_are_cut() {
    let Some(program) = can_run().then(program).flatten() else { return };
    let stage = Stage::new("super", Checks::new(Ok(program), BTreeSet::new()));
    let tagged = |frame: &[u8]| tag(VLAN, frame);
    let (four, six) = (eth(EAR, LIAR, 0x0800, &v4(6, &tcp(3000))), eth(EAR, LIAR, 0x86dd, &v6(6, &tcp(3000))));
    let datagrams = [&[0x1f, 0x40, 0x1f, 0x41, 0x0b, 0xc0, 0, 0][..], &[0x5a; 3000]].concat();
    let udp = eth(EAR, LIAR, 0x0800, &v4(17, &datagrams));
    for (gso, start, frame) in [
        (Gso::TcpV4, 34, four.clone()),
        (Gso::TcpV4, 38, tagged(&four)),
        (Gso::TcpV6, 54, six.clone()),
        (Gso::TcpV6, 58, tagged(&six)),
        (Gso::UdpL4, 34, udp.clone()),
        (Gso::UdpL4, 38, tagged(&udp)),
    ] {
        let (offset, header) = if gso == Gso::UdpL4 { (6, 8) } else { (16, 20) };
        let hdr_len = u16::try_from(start + header).unwrap();
        let virtio = Virtio { gso, gso_size: 1000, hdr_len, ..open(start, offset) };
        assert!(stage.say(virtio, &frame));
        assert_eq!(stage.heard().len(), 3, "{gso:?} at {start}");
    }
    assert_eq!(stage.counters()["guest_checksum"], 0);
}

#[test]
fn a_super_frame_is_for_one_and_becomes_no_more_frames_than_a_limit_may_count_as_one() {
    let Some(program) = can_run().then(program).flatten() else { return };
    let stage = Stage::new("crumbs", Checks::new(Ok(program), BTreeSet::new()));
    let datagrams = [&[0x1f, 0x40, 0x1f, 0x41, 0x0b, 0xc0, 0, 0][..], &[0x5a; 3000]].concat();
    let mut dropped = 0;
    for (to, kind, gso_size, parts) in [
        (EAR, Gso::UdpL4, 100, 30),
        (EAR, Gso::UdpL4, 10, 0),
        (EAR, Gso::TcpV4, 100, 30),
        (EAR, Gso::TcpV4, 1, 0),
        (Mac([0xff; 6]), Gso::UdpL4, 1000, 0),
        (Mac([1, 0, 0x5e, 1, 1, 1]), Gso::UdpL4, 1000, 0),
        (Mac([1, 0, 0x5e, 1, 1, 1]), Gso::TcpV4, 1000, 0),
    ] {
        let udp = kind == Gso::UdpL4;
        let (packet, offset, header) = if udp { (v4(17, &datagrams), 6, 8) } else { (v4(6, &tcp(3000)), 16, 20) };
        let virtio = Virtio { gso: kind, gso_size, hdr_len: 34 + header, ..open(34, offset) };
        // Newer kernels refuse some of it themselves (`virtio_net_hdr_to_skb`).
        let said = stage.say(virtio, &eth(to, LIAR, 0x0800, &packet));
        assert!(said || parts == 0, "{kind:?} to {to} by {gso_size}");
        assert_eq!(stage.heard().len(), parts, "{kind:?} to {to} by {gso_size}");
        dropped += u64::from(parts == 0 && said);
        assert_eq!(stage.counters()["guest_checksum"], dropped, "{kind:?} to {to} by {gso_size}");
    }
}

/// A question to a DHCP server in a super-frame whose second and third datagram are answers for a relay. How many of them arrive.
fn answers(stage: &Stage, kind: u16, start: usize, frame: &[u8]) -> usize {
    let hdr_len = u16::try_from(start + 8).unwrap();
    let virtio = Virtio { gso: Gso::UdpL4, gso_size: 1000, hdr_len, ..open(start, 6) };
    assert!(stage.say(virtio, frame));
    let is_answer = |heard: &Vec<u8>| [2, 13].contains(&heard[start + 8]);
    stage.heard().iter().filter(|heard| heard[12..14] == kind.to_be_bytes() && is_answer(heard)).count()
}

#[test]
fn what_is_to_be_cut_becomes_nothing_that_the_filter_has_not_seen() {
    if !can_run() {
        return;
    }
    let message = |port: u16, question: u8, answer: u8| {
        let mut payload = vec![0x5a; 3000];
        (payload[0], payload[1000], payload[2000]) = (question, answer, answer);
        [&5000_u16.to_be_bytes()[..], &port.to_be_bytes(), &3008_u16.to_be_bytes(), &[0, 0], &payload].concat()
    };
    let frames = [
        (0x0800, 34, eth(EAR, LIAR, 0x0800, &v4(17, &message(67, 1, 2)))),
        (0x86dd, 54, eth(EAR, LIAR, 0x86dd, &v6(17, &message(547, 1, 13)))),
    ];
    if let Some(program) = program() {
        let stage = Stage::new("cut", Checks::new(Ok(program), BTreeSet::new()));
        for (dropped, (kind, start, frame)) in (1..).zip(&frames) {
            assert_eq!(answers(&stage, *kind, *start, frame), 0, "{kind:x}");
            assert_eq!(stage.counters()["guest_checksum"], dropped);
        }
    }
    // What keeps them away is the check.
    let stage = Stage::new("uncut", Checks::new(Err("not in this test".to_owned()), BTreeSet::new()));
    for (kind, start, frame) in &frames {
        assert_eq!(answers(&stage, *kind, *start, frame), 2, "{kind:x}");
    }
}

/// A megabyte of TCP and some datagrams.
fn talk(from: &Space, to: &Space, address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let listener = to.enter(|| TcpListener::bind(address).unwrap());
    let ear = to.enter(|| UdpSocket::bind(address).unwrap());
    ear.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut stream = from.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap());
    let (mut accepted, _) = listener.accept().unwrap();
    for side in [&stream, &accepted] {
        side.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        side.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    let writer = thread::spawn(move || stream.write_all(&vec![7; 1 << 20]).unwrap());
    accepted.read_exact(&mut vec![0; 1 << 20]).unwrap();
    writer.join().unwrap();
    let mouth = from.enter(|| UdpSocket::bind((if address.is_ipv4() { "0.0.0.0" } else { "::" }, 0)).unwrap());
    mouth.send_to(b"a datagram", address).unwrap();
    assert_eq!(ear.recv(&mut [0; 99]).unwrap(), 10);
}

#[test]
fn what_guests_send_by_themselves_passes_in_tunnels_of_their_own_too() {
    let Some(program) = can_run().then(program).flatten() else { return };
    let mut stage = Stage::new("real", Checks::new(Ok(program), BTreeSet::new()));
    stage.host.sh("sysctl -q -w net.ipv6.conf.default.disable_ipv6=0");
    let one = guest(&stage.host, BRIDGE, "g1", "02:00:00:00:00:01", &["192.168.10.11/24", "fd10::11/64"]);
    let two = guest(&stage.host, BRIDGE, "g2", "02:00:00:00:00:02", &["192.168.10.12/24", "fd10::12/64"]);
    stage.settle();
    for name in ["g1", "g2"] {
        assert_eq!(stage.programs(name).len(), 1);
    }
    talk(&one, &two, "192.168.10.12:9000");
    talk(&two, &one, "[fd10::11]:9000");
    for (kind, more) in [("vxlan", "id 5 dstport 4789"), ("gre", ""), ("ipip", "")] {
        for (space, own, other) in [(&one, 11, 12), (&two, 12, 11)] {
            let remote = format!("local 192.168.10.{own} remote 192.168.10.{other} dev eth0");
            let address = format!("ip address add 10.77.0.{own}/24 dev t0");
            let made =
                space.try_sh(&format!("ip link add t0 type {kind} {more} {remote} && {address} && ip link set t0 up"));
            if !made.status.success() {
                eprintln!("SKIPPED: no {kind} here");
            }
        }
        if one.holds("ip link show t0") && two.holds("ip link show t0") {
            talk(&one, &two, "10.77.0.12:9001");
        }
        for space in [&one, &two] {
            space.try_sh("ip link delete t0");
        }
    }
    assert_eq!(stage.counters()["guest_checksum"], 0);
}

#[test]
fn the_check_outlives_its_daemon_and_what_others_do_and_goes_when_it_is_told() {
    let Some(program) = can_run().then(program).flatten() else { return };
    let number = program.number();
    let mut stage = Stage::new("stays", Checks::new(Ok(program), BTreeSet::new()));
    assert_eq!(stage.programs("liar"), [number]);
    assert_eq!(stage.programs(crate::node::TAP), [0_u32; 0], "not at what is ours");

    // Somebody takes it away: that is seen, and repaired.
    let index = stage.index("liar");
    stage.host.enter(|| sys::bpf_move(false, [index, 0, INGRESS, FIRST, 0, 0], 0)).unwrap();
    assert_eq!(stage.programs("liar"), [0_u32; 0]);
    let done = stage.settle();
    assert!(matches!(&done[..], [Op::CheckChecksums { name, again: true }] if name.as_str() == "liar"), "{done:?}");
    assert_eq!(stage.programs("liar"), [number]);

    // Somebody else's program and qdisc stay what and where they are.
    let stranger = Program::load().unwrap();
    let theirs = stranger.number();
    let mut other = stage.host.enter(|| Kernel::new().unwrap().with_checks(Checks::new(Ok(stranger), BTreeSet::new())));
    let again = [Op::CheckChecksums { name: "liar".parse().unwrap(), again: false }];
    stage.host.enter(|| other.apply(&again).unwrap());
    let qdisc = stage.host.holds("tc qdisc add dev liar clsact && tc filter add dev liar ingress matchall action pass");
    let filters = || stage.host.sh("tc qdisc show dev liar; tc filter show dev liar ingress");
    let before = qdisc.then(filters);
    assert_eq!(stage.programs("liar"), [theirs, number]);
    assert_eq!(stage.settle(), []);

    // The daemon dies; the check does not.
    stage.kernel = stage.host.enter(|| Kernel::new().unwrap());
    assert_eq!(stage.programs("liar"), [theirs, number]);
    let kind = &kinds()[0];
    assert!(stage.say(open(kind.start - 2, kind.offset), &kind.frame));
    assert_eq!(stage.heard(), Vec::<Vec<u8>>::new());

    // One that cannot check leaves it where it is, and has nothing to complain of.
    let checks = Checks::new(Err("not today".into()), [number].into());
    stage.kernel = stage.host.enter(|| Kernel::new().unwrap().with_checks(checks));
    stage.settle();
    assert_eq!(stage.programs("liar"), [theirs, number]);
    let plan = planned(&slice("a", rows()), &local("10.9.0.1"));
    let kernel = &mut stage.kernel;
    let findings = stage.host.enter(|| reconcile::conflicts(&plan.desired, &kernel.observe().unwrap()));
    assert!(findings.is_empty(), "{findings:?}");

    // The next one takes its place, without a moment in which there is none.
    let next = Program::load().unwrap();
    let newer = next.number();
    let checks = Checks::new(Ok(next), [number].into());
    stage.kernel = stage.host.enter(|| Kernel::new().unwrap().with_checks(checks));
    let done = stage.settle();
    assert!(done.iter().any(|op| matches!(op, Op::CheckChecksums { again: false, .. })), "{}", text(&done));
    assert_eq!(stage.programs("liar"), [newer, theirs]);
    assert_eq!(stage.programs("ear"), [newer]);

    // One that leaves the bridge is a guest's no more.
    stage.host.sh("ip link set ear nomaster");
    stage.settle();
    assert_eq!(stage.programs("ear"), [0_u32; 0]);
    stage.host.sh(&format!("ip link set ear master {BRIDGE}"));
    stage.settle();
    assert_eq!(stage.programs("ear"), [newer]);

    // One that goes meanwhile is no failure.
    let gone = [Op::CheckChecksums { name: "nothere".parse().unwrap(), again: false }];
    let kernel = &mut stage.kernel;
    stage.host.enter(|| kernel.apply(&gone).unwrap());

    // Leaving: what an earlier process has put on is taken off, wherever the interface stands by now.
    stage.host.sh("ip link set ear nomaster");
    stage.kernel = stage.host.enter(|| Kernel::new().unwrap().with_checks(Checks::end([newer].into())));
    let kernel = &mut stage.kernel;
    stage.host.enter(|| {
        let ops = reconcile::cleanup(&kernel.observe().unwrap());
        kernel.apply(&ops).unwrap();
        assert_eq!(text(&reconcile::cleanup(&kernel.observe().unwrap())), "");
    });
    assert_eq!((stage.programs("liar"), stage.programs("ear")), (vec![theirs], vec![]));
    assert_eq!(before, qdisc.then(|| stage.host.sh("tc qdisc show dev liar; tc filter show dev liar ingress")));
}

#[test]
fn a_guest_that_comes_and_goes_costs_no_step_that_fails() {
    let Some(program) = can_run().then(program).flatten() else { return };
    let mut stage = Stage::new("comes", Checks::new(Ok(program), BTreeSet::new()));
    for _ in 0..3 {
        stage.host.sh(&format!("ip link add name g1 type veth peer name p1; ip link set g1 master {BRIDGE} up"));
        stage.settle();
        assert_eq!(stage.programs("g1").len(), 1);
        stage.host.sh("ip link delete g1");
        stage.settle();
    }
    wait_until("it is gone", Duration::from_secs(5), || !stage.host.holds("ip link show g1"));
}

/// Runs on a machine of a lab.
fn on<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let inside = || {
        netns::enter(&netns::path(namespace)).unwrap();
        work()
    };
    thread::scope(|scope| scope.spawn(inside).join().unwrap())
}

#[test]
fn a_daemon_checks_its_guests_also_when_it_is_dead_and_no_more_when_it_has_left() {
    if can_run().then(program).flatten().is_none() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "1", "--guests", "1"]);
    let machine = format!("{}-a-1", lab.home.name());
    let there = |words: &str| succeed(Command::new("ip").args(["netns", "exec", &machine]).args(words.split(' ')));
    let index: u32 = there("cat /sys/class/net/g1/ifindex").trim().parse().unwrap();
    let programs = || {
        let mut numbers = [0; 64];
        let (count, _) = on(&machine, || sys::bpf_programs(index, INGRESS, &mut numbers)).unwrap();
        numbers[..count].to_vec()
    };
    let soon = Duration::from_secs(10);
    wait_until("it is checked", soon, || programs().len() == 1);
    let first = programs();

    // Somebody takes it away, and the next notice of anything has it seen. Again, if the look that has put it there was not over: that one
    // sees no fault of others in what it finds at its end.
    let socket = lab.home.socket("a-1").display().to_string();
    let told = || {
        let events = ctl(&["events", "--socket", &socket]);
        let events = String::from_utf8_lossy(&events.stdout).into_owned() + &said(&events);
        events.contains("repaired: bpftool net attach tcx_ingress name vxmesh_checksum dev g1")
    };
    wait_until("it is told", soon, || {
        if !told() && programs() == first {
            on(&machine, || sys::bpf_move(false, [index, 0, INGRESS, FIRST, 0, 0], 0)).unwrap();
            there("ip link add name one type veth peer name other");
            there("ip link delete one");
        }
        told()
    });
    wait_until("it is repaired", soon, || programs() == first);

    lab.kill("a-1");
    assert_eq!(programs(), first);
    lab.start("a-1");
    wait_until("the next one has taken its place", soon, || programs().len() == 1 && programs() != first);
    lab.kill("a-1");
    let config = lab.home.machine("a-1").join("meshd.toml").display().to_string();
    there(&format!("{} leave --yes --config {config}", env!("CARGO_BIN_EXE_meshctl")));
    assert_eq!(programs(), [0_u32; 0]);
}
