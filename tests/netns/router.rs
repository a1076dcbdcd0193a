//! Answers of a router say that it is one, inside a PDC and across: they are its own. A host gives up its default route by an answer that
//! does not (RFC 4861 section 7.2.5).

use std::net::Ipv6Addr;
use std::process::Command;
use std::time::Duration;

use vxmesh::types::Mac;
use vxmesh::wire::nd::{Solicitation, link_local};

use crate::frames::Plug;
use crate::harness::{can_run, succeed, wait_until};
use crate::labs::Lab;
use crate::pretend::six;

const LIMIT: Duration = Duration::from_secs(10);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A guest that asks.
struct Asker {
    plug: Plug,
    mac: Mac,
}

impl Asker {
    fn new(lab: &Lab, node: &str) -> Self {
        let layout = lab.layout();
        let guest = &layout.node(node).unwrap().guests[0];
        Self { plug: Plug::at(&guest.namespace, "eth0"), mac: guest.mac }
    }

    /// What the last answer that has come says of the router flag, if one has come; then asks again.
    fn hears(&self, target: Ipv6Addr) -> Option<bool> {
        // Ethernet, IPv6, then type 136, flags, target.
        let answer = |frame: &Vec<u8>| {
            let said = frame.get(54) == Some(&136) && frame.get(62..78) == Some(&target.octets());
            said.then(|| frame[58] & 0x80 != 0)
        };
        let heard = self.plug.take().iter().rev().find_map(answer);
        let source = link_local(self.mac);
        let mut message = vec![0; 32];
        let asked = Solicitation { target, source: Some(self.mac) };
        asked.emit(&mut message, source, ALL_NODES).unwrap();
        self.plug.send(&six(Mac::BROADCAST, self.mac, source, 58, &message));
        heard
    }
}

#[test]
fn who_is_a_router_says_so_in_its_answers_everywhere() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    let guest = lab.layout().node("a-1").unwrap().guests[0].clone();
    let (own, other) = (link_local(guest.mac), Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 0x11));
    let inside = |words: &[&str]| {
        succeed(Command::new("ip").args(["netns", "exec", &guest.namespace]).args(words));
    };
    lab.admin(&["network", "set", "blue", "--cidr", "192.168.10.0/24,fd00:10::/64"]);
    let addresses = format!("192.168.10.11,{own},{other}");
    lab.admin(&["port", "set", "a-1-g1", "--role", "router", "--ip", &addresses]);
    inside(&["ip", "address", "add", &format!("{other}/64"), "dev", "eth0", "nodad"]);
    // One in the same PDC, one in another.
    let askers = ["a-2", "b-1"].map(|node| (node, Asker::new(&lab, node)));
    for routes in [false, true, false] {
        inside(&["sysctl", "-qw", &format!("net.ipv6.conf.all.forwarding={}", u8::from(routes))]);
        for (node, asker) in &askers {
            for target in [own, other] {
                let what = format!("routes {routes}: {node} is answered for {target} with the right flag");
                wait_until(&what, LIMIT, || asker.hears(target) == Some(routes));
            }
        }
    }
}
