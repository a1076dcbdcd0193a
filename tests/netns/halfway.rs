//! A table that is applied in part. A plan is cut after each of its steps, as kill -9 would cut it, and on what stands then in the
//! real kernel a guest talks to everybody while a stranger knocks. Nothing may pass that neither the old nor the new table allows,
//! and the next daemon reaches the new table from every cut.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use serde_json::json;
use vxmesh::linux::{Kernel, sys};
use vxmesh::node::desired::{Desired, Observed};
use vxmesh::node::guard::Guard;
use vxmesh::node::op::Op;
use vxmesh::node::plan::{Local, Underlay};
use vxmesh::node::reconcile;
use vxmesh::policy::path::Path;
use vxmesh::table::Slice;
use vxmesh::types::Mac;

use crate::frames::{Plug, UDP, ethernet, holds, inner, ip, mac_of, marker, udp, vxlan};
use crate::harness::{Space, cable, can_run, wait_until};
use crate::node::{BRIDGE, behind, planned, settle, slice, text};

const LIMIT: Duration = Duration::from_secs(10);
const GUEST: Mac = Mac([2, 0, 0, 0, 0, 1]);

/// What the guest says: no other kind of frame than IP and ARP comes out of a port.
fn spoken(to: Mac, marker: &[u8]) -> Vec<u8> {
    let (from, all) = ("192.168.10.11".parse().unwrap(), "192.168.10.255".parse().unwrap());
    ethernet(GUEST, to, &ip(from, all, 64, UDP, &udp(from, all, 9, marker)))
}

/// Guests on b and c in the PDC, and one far away.
fn inside(six: bool) -> Slice {
    let guest = |node, last| behind("g1", node, &[&format!("192.168.10.1{last}")], &[&format!("fd10::1{last}")]);
    let slice = slice(
        "a",
        json!({
            "default/10/-/02:00:00:00:00:01": guest("a", 1), "default/10/-/02:00:00:00:00:05": behind("g2", "a", &[], &[]), "default/10/-/02:00:00:00:00:02": guest("b", 2),
            "default/10/-/02:00:00:00:00:03": guest("c", 3), "default/10/-/02:00:00:00:00:04": guest("far", 4),
        }),
    );
    let text = serde_json::to_string(&slice).unwrap();
    let six_text = || text.replace("10.9.0.0/16", "fd00::/16").replace("10.9.0.", "fd00::").replace("1400", "1390");
    serde_json::from_str(&if six { six_text() } else { text.clone() }).unwrap()
}

/// The same after b has moved to the other PDC.
fn moved(six: bool) -> Slice {
    let mut slice = inside(six);
    let b = "b".parse().unwrap();
    slice.peers.get_mut(&b).unwrap().pdc = "y".parse().unwrap();
    slice.networks.values_mut().for_each(|network| network.members.extend([(b.clone(), Path::Tunnel)]));
    slice
}

/// The same without the network.
fn gone(six: bool) -> Slice {
    let mut slice = inside(six);
    slice.networks.clear();
    slice.rows.clear();
    slice
}

fn address(six: bool, last: u8) -> String {
    if six { format!("fd00::{last}") } else { format!("10.9.0.{last}") }
}

fn host_of(six: bool) -> Local {
    let side = |name: &str, address: String| {
        Some(Underlay { interface: name.parse().unwrap(), address: address.parse().unwrap(), mtu: 1500 })
    };
    let external = if six { "fd09::1" } else { "198.51.100.1" };
    let (admin, external) = (side("eth0", address(six, 1)), side("eth1", external.to_owned()));
    Local { admin, external, ..Local::default() }
}

fn desired(slice: &Slice, six: bool) -> Desired {
    let plan = planned(slice, &host_of(six));
    assert!(plan.findings.is_empty(), "{:?}", plan.findings);
    plan.desired
}

/// A host with two wires.
struct Scene {
    host: Space,
    #[expect(dead_code, reason = "its namespace must live as long")]
    other: Space,
    wires: [Plug; 2],
    six: bool,
}

impl Scene {
    fn new(six: bool) -> Self {
        let (host, other) = (Space::new("half"), Space::new("wires"));
        for (device, address) in [
            ("eth0", if six { "fd00::1/64" } else { "10.9.0.1/16" }),
            ("eth1", if six { "fd09::1/64" } else { "198.51.100.1/24" }),
        ] {
            cable(&host, device, &other, device);
            host.sh(&format!("ip address add {address} dev {device} nodad"));
            // Whoever a frame is for is known, so that none waits for an answer that nobody gives.
            let any =
                if six { "ip -6 route add default dev eth1 || true" } else { "ip route add default dev eth1 || true" };
            host.sh(any);
            for last in [2, 3, 66] {
                host.sh(&format!(
                    "ip neigh replace {} dev {device} lladdr 02:00:00:00:99:99",
                    self::address(six, last)
                ));
            }
        }
        let wires = ["eth0", "eth1"].map(|device| Plug::new(&other, device));
        Self { host, other, wires, six }
    }

    /// Two guests' cables, if there is a bridge that is up to plug them into.
    fn guests(&self) -> Option<[Plug; 2]> {
        if !self.host.holds(&format!("ip -o link show dev {BRIDGE} | grep -q ',UP'")) {
            return None;
        }
        for guest in ["g1", "g2"] {
            if !self.host.holds(&format!("ip link show dev {guest}")) {
                let cable = format!("ip link add name {guest} type veth peer name of-{guest}");
                self.host
                    .sh(&format!("{cable}; ip link set dev {guest} master {BRIDGE} up; ip link set dev of-{guest} up"));
            }
        }
        Some(["of-g1", "of-g2"].map(|device| Plug::new(&self.host, device)))
    }

    /// What the guest says to all, and what a stranger and a member say to the guest.
    fn talk(&self) -> Heard {
        let Some([guest, second]) = self.guests() else { return Heard::default() };
        let (there, own) = (mac_of(&self.host, "eth0"), marker(1));
        let sink = self.host.enter(|| UdpSocket::bind("[::]:9999").unwrap());
        sink.set_nonblocking(true).unwrap();
        let say = |last: u8, port: u16, payload: &[u8]| {
            let (from, to) = (address(self.six, last).parse().unwrap(), address(self.six, 1).parse().unwrap());
            let packet = ip(from, to, 255, UDP, &udp(from, to, port, payload));
            self.wires[0].send(&ethernet(Mac([2, 0, 0, 0, 0x99, 0x99]), there, &packet));
        };
        let knock =
            |last: u8| say(last, 4789, &vxlan(8, 10, &inner(Mac([2, 0, 0, 0, 0, 2]), GUEST, &marker(last.into()))));
        // Frames of one CPU are handled in their order: what is sent behind all others shows that they have been.
        let fence = || {
            wait_until("the other guest hears what is sent behind", LIMIT, || {
                guest.send(&spoken(Mac([0xff; 6]), &marker(9)));
                second.count(&marker(9)) > 0
            });
            wait_until("the host hears what is sent behind", LIMIT, || {
                say(3, 9999, b"behind");
                sink.recv(&mut [0; 64]).is_ok()
            });
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let _ = sys::pin_thread(0);
                fence();
                for last in [2, 3, 4, 9, 0xff] {
                    let to = if last == 0xff { Mac([0xff; 6]) } else { Mac([2, 0, 0, 0, 0, last]) };
                    guest.send(&spoken(to, &own));
                }
                knock(66);
                knock(2);
                fence();
            });
        });
        let mut heard = Heard::default();
        for (wire, plug) in self.wires.iter().enumerate() {
            let clear = plug.take().into_iter().filter(|frame| holds(frame, &own));
            heard.told.extend(clear.map(|frame| (wire, if self.six { frame[14 + 39] } else { frame[14 + 19] })));
        }
        let frames = guest.take();
        [heard.stranger, heard.member] = [66, 2].map(|number| frames.iter().any(|frame| holds(frame, &marker(number))));
        heard
    }
}

/// What came of it.
#[derive(Debug, Default)]
struct Heard {
    /// Who was told something of the guest in clear: the wire, and the last byte of the VTEP.
    told: BTreeSet<(usize, u8)>,
    /// The guest heard the stranger.
    stranger: bool,
    /// The guest heard b.
    member: bool,
}

fn ops(kernel: &mut Kernel, to: &Desired) -> Vec<Op> {
    reconcile::diff(to, &kernel.observe().unwrap())
}

/// Ours without what a guest's port adds.
fn ours(mut observed: Observed) -> Observed {
    observed.links.retain(|name, _| vxmesh::node::names::parse(name.as_str()).is_some());
    observed.bridge_fdb.values_mut().for_each(|table| table.retain(|_, entry| !entry.port.as_str().starts_with('g')));
    observed.bridge_fdb.retain(|_, table| !table.is_empty());
    observed.neighbours.values_mut().for_each(|table| table.retain(|_, neighbour| neighbour.permanent));
    observed.neighbours.retain(|_, table| !table.is_empty());
    observed.places.clear();
    observed.heard.clear();
    observed
}

/// Goes from one table to another, cut after `cut` steps; false where there are fewer.
fn cut_after(cut: usize, from: &Slice, to: &Slice, six: bool, allowed: fn(usize) -> &'static [u8]) -> bool {
    let scene = Scene::new(six);
    let (from, to) = (desired(from, six), desired(to, six));
    let steps = scene.host.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        let first = ops(&mut kernel, &from);
        kernel.apply(&first).unwrap();
        let steps = ops(&mut kernel, &to);
        kernel.apply(&steps[..cut.min(steps.len())]).unwrap();
        steps
    });
    if cut > steps.len() {
        return false;
    }
    let done = text(&steps[..cut]);
    let check = || {
        let heard = scene.talk();
        assert!(!heard.stranger, "a stranger was heard after\n{done}");
        let wrong: Vec<_> =
            heard.told.iter().filter(|(wire, last)| *wire != 0 || !allowed(cut).contains(last)).collect();
        assert!(wrong.is_empty(), "in clear to {wrong:?} (wire, last byte of the VTEP) after\n{done}");
        assert!(!heard.member || allowed(cut).contains(&2), "b was heard in clear after\n{done}");
        heard
    };
    let heard = check();
    // Before the first step and after the last, what is allowed does pass: else this listens to nothing.
    let network = if cut == 0 { &from } else { &to }.networks.values().next();
    if let Some(net) = network.filter(|_| cut == 0 || cut == steps.len()) {
        let plain: Vec<u8> = net.vxlan_fdb.keys().map(|mac| mac.0[5]).collect();
        let passes = |heard: &Heard| {
            plain.iter().all(|last| heard.told.contains(&(0, *last))) && heard.member == plain.contains(&2)
        };
        if !passes(&heard) {
            wait_until("what is allowed passes", LIMIT, || passes(&check()));
        }
    }
    scene.host.enter(|| {
        let (_, left, now) = settle(
            &mut Kernel::new().unwrap(),
            &vxmesh::node::plan::Plan { desired: to.clone(), ..Default::default() },
        );
        assert_eq!(text(&left), "", "the next daemon gets there from\n{done}");
        if let Some(net) = to.networks.values().next() {
            let now = ours(now);
            assert_eq!(now.bridge_fdb.values().next(), Some(&net.bridge_fdb), "from\n{done}");
            let Some(guard) = now.guard.loaded().cloned() else { panic!("there is no guard from\n{done}") };
            assert!(guard.shut.iter().any(|name| name.as_str() == BRIDGE), "from\n{done}");
            // What the host does not hear, and by what nobody of ours sends, is known once it is seen what stands there.
            let of_slice = Guard { shut: [].into(), through: None, untracked: false, doors: None, ..guard };
            assert_eq!(of_slice, to.guard, "from\n{done}");
        }
    });
    true
}

fn every_cut(from: &Slice, to: &Slice, six: bool, allowed: fn(usize) -> &'static [u8]) -> usize {
    (0..).take_while(|cut| cut_after(*cut, from, to, six, allowed)).count()
}

#[test]
fn a_first_table_leaks_nothing_after_any_of_its_steps() {
    if !can_run() {
        return;
    }
    assert!(every_cut(&gone(false), &inside(false), false, |_| &[2, 3]) > 15);
}

#[test]
fn a_node_that_leaves_the_pdc_hears_nothing_in_clear_after_the_first_step() {
    if !can_run() {
        return;
    }
    let allowed: fn(usize) -> &'static [u8] = |cut| if cut == 0 { &[2, 3] } else { &[3] };
    for six in [false, true] {
        assert!(every_cut(&inside(six), &moved(six), six, allowed) > 3);
    }
}

#[test]
fn a_node_that_comes_into_the_pdc_and_a_network_that_goes_leak_nothing_after_any_step() {
    if !can_run() {
        return;
    }
    assert!(every_cut(&moved(false), &inside(false), false, |_| &[2, 3]) > 3);
    assert!(every_cut(&inside(false), &gone(false), false, |_| &[2, 3]) > 3);
}
