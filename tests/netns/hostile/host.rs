//! Hosts of nodes: what they hear on any device that guests or tunnels are behind, and what they believe of the world.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::UdpSocket;

use vxmesh::linux::netns;
use vxmesh::types::Mac;

use super::ground::{COLD, Ground, HOT, sh};
use super::judge::{Belief, Kind};
use super::victim::{heard, raw_sockets};
use crate::labs::Lab;

/// One host.
pub struct Host {
    name: &'static str,
    space: String,
    /// For each device the sockets that hear what comes by it.
    sockets: Vec<(String, Vec<(u8, UdpSocket)>)>,
    /// What was so before.
    before: RefCell<BTreeSet<String>>,
}

impl Host {
    pub fn new(lab: &Lab, name: &'static str) -> Self {
        let space = lab.layout().node(name).unwrap().namespace.clone();
        let all = sh(&space, "ls /sys/class/net");
        let devices = all.split_whitespace().filter(|device| !["lo", "admin0", "ext0"].contains(device));
        let open = || {
            netns::enter(&netns::path(&space)).unwrap();
            devices.map(|device| (device.to_owned(), raw_sockets(Some(device)))).collect()
        };
        let sockets = std::thread::scope(|scope| scope.spawn(open).join().unwrap());
        let host = Self { name, space, sockets, before: RefCell::default() };
        host.reset();
        host
    }

    pub fn reset(&self) {
        let mut lines = String::from("ip -6 route flush proto ra; ip -6 address flush dynamic\n");
        for (vni, mac, device) in self.strangers() {
            lines.push_str(&format!("bridge fdb del {mac} dev {device} master 2>/dev/null || true # {vni}\n"));
        }
        sh(&self.space, &lines);
        *self.before.borrow_mut() = self.state();
        self.sockets.iter().for_each(|(_, sockets)| drop(heard(sockets)));
    }

    /// Addresses, routes and neighbours by which a host reaches somebody, by devices that guests are behind.
    fn state(&self) -> BTreeSet<String> {
        let text = sh(
            &self.space,
            "ip -o address; ip route show table all; ip -6 route show table all; ip neigh show; \
             cat /proc/sys/net/ipv6/conf/*/mtu | sort -u",
        );
        let own = |line: &&str| {
            let elsewhere = ["dev admin0", "dev ext0", ": admin0", ": ext0", "dev lo", ": lo"];
            let ours = ["PERMANENT", "NOARP", "FAILED", "INCOMPLETE"];
            // Its own link-local addresses come when they please.
            let itself = line.contains("fe80::") && !line.contains("lladdr") && !line.contains("via");
            !itself && !elsewhere.iter().chain(&ours).any(|word| line.contains(word))
        };
        // Times that run down are no news.
        let steady =
            |line: &str| line.split(" expires ").next().unwrap().split(" valid_lft").next().unwrap().to_owned();
        text.lines().filter(own).map(steady).collect()
    }

    /// Entries of bridges for somebody who is not there: VNI, address, device.
    fn strangers(&self) -> Vec<(u32, Mac, String)> {
        let mut all = Vec::new();
        for vni in [HOT, COLD] {
            let places = Ground::places(self.name, vni);
            let text = sh(&self.space, &format!("bridge fdb show br vb{vni}.12b5"));
            for line in text.lines().filter(|line| !line.contains("permanent") && !line.contains(" self")) {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [mac, "dev", device, ..] = words[..] else { continue };
                let mac: Mac = mac.parse().unwrap();
                let right = places.iter().any(|(known, at)| {
                    let far = device.starts_with("vv") || device.starts_with("vt");
                    *known == mac && at.map_or(far, |at| at == device)
                });
                if !right {
                    all.push((vni, mac, device.to_owned()));
                }
            }
        }
        all
    }

    /// What it has heard and believes that it must not.
    pub fn look(&self) -> Vec<Belief> {
        let mut beliefs = Vec::new();
        let mut add =
            |kind, what, numbers| beliefs.push(Belief { kind, whom: format!("host {}", self.name), what, numbers });
        for (device, sockets) in &self.sockets {
            for (what, marks) in heard(sockets).into_iter().filter(|(_, marks)| !marks.is_empty()) {
                add(Kind::Host, format!("{what} by {device}"), marks);
            }
        }
        for line in self.state().difference(&self.before.borrow()) {
            add(Kind::HostState, line.clone(), Vec::new());
        }
        for (vni, mac, device) in self.strangers() {
            add(Kind::Learned, format!("{mac} at {device} in VNI {vni}"), Vec::new());
        }
        beliefs
    }
}
