//! Why a frame arrives or does not: the whole chain for one frame from a port of this node, out of the same slice and the same
//! verdicts that the plan and the data plane use. `meshd` answers with it on its socket, the management node for any node.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::concerns::HOLDER;
pub use super::explain_error::{ExplainError, UNEXPLAINED};
use super::names::{self, Device};
use super::paths::{self, Own, Paths};
use super::spans::{self, AllMeasured};
pub use super::target::{Target, row_of};
use super::wrongs::NOT_ITS;
use super::{concerns, explain_guests, may_hold};
use crate::api::local::{Arrival, Explanation, Step};
use crate::policy::mtu::{Carrier, Family, Span};
use crate::policy::path::{Outer, Path, Verdict};
use crate::table::{Flood, NetKey, Network, Peer, Row, RowKey, Slice};
use crate::types::{IfName, Mac, Mtu, NodeId, PortId, UdpPort};

/// What a node knows when it explains.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// Its slice.
    pub slice: &'a Slice,
    /// The verdicts of that slice ([`paths::decide_all`]).
    pub paths: &'a Paths,
    /// Its outer addresses.
    pub own: Own,
    /// MTU of its admin interface, if known.
    pub admin_mtu: Option<Mtu>,
    /// MTU of its external interface, if known.
    pub external_mtu: Option<Mtu>,
    /// MTUs at the other ends, as far as they are known.
    pub far: &'a Far,
    /// What tunnels were measured to carry.
    pub measured: &'a AllMeasured,
    /// How the paths are now; none: whoever explains cannot see them.
    pub live: Option<&'a Live>,
}

/// How paths are now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// Plain paths, by peer and UDP port of the overlay.
    pub plain: BTreeMap<(NodeId, UdpPort), Now>,
    /// Tunnels.
    pub tunnels: BTreeMap<NodeId, Now>,
}

/// How one path is now, with a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Now {
    /// It has answered lately.
    Answers(String),
    /// It carries nothing.
    Fails(String),
    /// Nobody knows.
    Unknown(String),
}

/// Underlay MTU of other nodes, admin and external, bytes.
pub type Far = BTreeMap<NodeId, [u16; 2]>;

/// Explains a frame from a guest of this node to a target.
///
/// # Errors
/// [`ExplainError`]: the sender is not here.
pub fn explain(here: Here<'_>, from: &Target, to: &Target) -> Result<Explanation, ExplainError> {
    let (key, _) = sender(here.slice, from, to)?;
    let net = key.net();
    let mut chain = Chain { here, key, net: &net, steps: Vec::new(), mac: None, probed: false };
    let passes = chain.run(from, to).is_some();
    let verdict = match (passes, chain.probed) {
        (true, true) => Arrival::Arrives,
        (true, false) => Arrival::NotCertain,
        (false, _) => Arrival::DoesNotArrive,
    };
    let mut explanation = Explanation {
        from: from.to_string(),
        from_node: here.slice.node.clone(),
        to: to.to_string(),
        steps: chain.steps,
        verdict,
        mac: chain.mac,
    };
    concerns::settle(&mut explanation);
    Ok(explanation)
}

fn sender<'a>(slice: &'a Slice, from: &Target, to: &Target) -> Result<(&'a RowKey, &'a Row), ExplainError> {
    let node = slice.node.to_string();
    let Some(found) = row_of(slice, from, to) else {
        if let Target::Ip(ip) = from
            && let senders = may_hold::senders(slice, *ip)
            && !senders.is_empty()
        {
            let (what, help) = may_hold::asked(from, to, &senders, Some(&node));
            return Err(ExplainError::Undeclared { what, help });
        }
        let known = slice.rows.values().filter(|row| row.node == slice.node).filter_map(|row| row.port.as_ref());
        let near = match from {
            Target::Port(port) => crate::config::nearest(port.as_str(), known.map(PortId::as_str)).map(str::to_owned),
            Target::Mac(_) | Target::Ip(_) => None,
        };
        return Err(ExplainError::Unknown { from: from.clone(), node, near });
    };
    if found.1.node == slice.node {
        Ok(found)
    } else {
        let runs_on = found.1.node.to_string();
        Err(ExplainError::Elsewhere { from: from.clone(), runs_on, node, to: to.clone() })
    }
}

/// The steps so far. Each link returns none where the frame ends.
struct Chain<'a> {
    here: Here<'a>,
    key: &'a RowKey,
    net: &'a NetKey,
    steps: Vec<Step>,
    mac: Option<Mac>,
    probed: bool,
}

impl<'a> Chain<'a> {
    fn pass(&mut self, what: &str, text: impl Into<String>) {
        self.steps.push(Step::new(what, true, text));
    }

    /// Nobody here can say whether it passes.
    fn open(&mut self, what: &str, text: impl Into<String>) {
        self.steps.push(Step::open(what, text));
    }

    fn end<T>(&mut self, what: &str, text: impl Into<String>) -> Option<T> {
        self.steps.push(Step::new(what, false, text));
        None
    }

    fn run(&mut self, from: &Target, to: &Target) -> Option<()> {
        let slice = self.here.slice;
        let Some(network) = slice.networks.get(self.net) else {
            return self.end("port", format!("{} has a row for {from}, but does not host its network", slice.node));
        };
        let tag = self.key.vlan.map_or_else(String::new, |vlan| format!(", VLAN {vlan}"));
        let name = &network.name;
        let port = slice.rows.get(self.key).map(|row| of_port(slice, self.net, row)).unwrap_or_default();
        let who = match from {
            Target::Port(_) => format!("{from} is {}", self.key.mac),
            Target::Mac(_) => format!("{from} is a guest{port}"),
            Target::Ip(_) => format!("{from} is {}{port}", self.key.mac),
        };
        self.pass("port", format!("{who} in {name} ({}{tag}) on {}", self.net, slice.node));
        if let Some(why) = for_all(network, to) {
            return self.broadcast(network, &why);
        }
        let Some((key, row)) = self.row(network, to) else {
            // Where the last step is open, somebody who is in no row may take it.
            return self.steps.last().filter(|step| step.passes).map(|_| ());
        };
        self.mac = Some(key.mac);
        if key == self.key {
            return self
                .end("path", format!("{from} itself: a bridge sends no frame back to the port that it came from"));
        }
        if row.node == slice.node {
            if let Some(interface) = row.interface.as_ref().filter(|name| self.interface() == Some(*name)) {
                let text =
                    "a bridge sends no frame back; whether what is behind it switches the frame is not known here";
                self.open("path", format!("local: both are behind {interface}: {text}"));
                return Some(());
            }
            let bridge = names::device(Device::Bridge, self.net.vni, network.udp_port);
            self.pass("path", format!("local: both are on {}, bridge {bridge} switches the frame", slice.node));
            self.pass("mtu", format!("guests of {name} have an MTU of {}", network.guest_mtu));
            self.probed = self.here.live.is_some();
            return Some(());
        }
        self.across(network, row)
    }

    /// The interface that the sender is behind, where its port names one.
    fn interface(&self) -> Option<&'a IfName> {
        self.here.slice.rows.get(self.key)?.interface.as_ref()
    }

    /// Which row is meant, and who answers for it.
    fn row(&mut self, network: &'a Network, to: &Target) -> Option<(&'a RowKey, &'a Row)> {
        match to {
            Target::Ip(ip) => self.by_ip(network, *ip),
            Target::Mac(mac) => {
                let key = RowKey { mac: *mac, ..self.key.clone() };
                match self.here.slice.rows.get_key_value(&key) {
                    Some((key, row)) => {
                        self.pass(
                            "row",
                            format!("{mac} is a guest{} on {}", of_port(self.here.slice, self.net, row), row.node),
                        );
                        Some((key, row))
                    }
                    None => match self.here.slice.rows_of(self.net).find(|(key, _)| key.mac == *mac) {
                        Some((other, _)) => self.apart(mac, other),
                        None => self.flood(network, &format!("no row for {mac}")),
                    },
                }
            }
            Target::Port(port) => {
                let wanted = |row: &Row| row.port.as_ref() == Some(port);
                let Some((key, row)) = self.here.slice.rows.iter().find(|(_, row)| wanted(row)) else {
                    return self.end("row", nobody(self.here.slice, port));
                };
                if key.is_in(self.net) && key.vlan != self.key.vlan {
                    return self.apart(port, key);
                }
                if !key.is_in(self.net) {
                    let text =
                        format!("{port} is in {}, the sender in {}: two networks are apart", key.net(), self.net);
                    return self.end("row", text);
                }
                self.pass(
                    "row",
                    format!("{port} is {} on {}{}", key.mac, row.node, addresses(self.here.slice, network, row)),
                );
                Some((key, row))
            }
        }
    }

    fn by_ip(&mut self, network: &'a Network, ip: IpAddr) -> Option<(&'a RowKey, &'a Row)> {
        let inside = network.cidr.is_empty() || network.cidr.iter().any(|prefix| prefix.contains(ip));
        if inside {
            return self.answer(network, ip);
        }
        let Some(gateway) = network.gateway.iter().copied().find(|gateway| gateway.is_ipv4() == ip.is_ipv4()) else {
            return self.routed(network, ip);
        };
        self.pass(
            "gateway",
            format!("{ip} is outside of {}: the guest sends it to its gateway {gateway}", network.name),
        );
        self.answer(network, gateway)
    }

    /// An address outside of a network without a gateway: where ports route, guests may have a route by one of them. The frame is followed to the
    /// first that it reaches.
    fn routed(&mut self, network: &'a Network, ip: IpAddr) -> Option<(&'a RowKey, &'a Row)> {
        let none = format!("{ip} is outside of {} and the network has no gateway", network.name);
        let mut routers = may_hold::routers(self.here.slice, self.net, self.key.vlan);
        routers.retain(|(key, _)| *key != self.key);
        if routers.is_empty() {
            return self.end("row", none);
        }
        let (key, row) = self.first_reached(network, &routers)?;
        let gateway = may_hold::as_gateway(network, &[(key, row)], ip.is_ipv6());
        self.open(
            HOLDER,
            format!(
                "{none}; guests that route for others: {}; whether the sender has a route by one of them is not known here: if it is the gateway, \
                 {gateway}; if the frame goes to {} on {}:",
                may_hold::words(&routers),
                key.mac,
                row.node
            ),
        );
        Some((key, row))
    }

    fn answer(&mut self, network: &'a Network, ip: IpAddr) -> Option<(&'a RowKey, &'a Row)> {
        let owns = |row: &Row| match ip {
            IpAddr::V4(ip) => row.arp.contains(&ip),
            IpAddr::V6(ip) => row.nd.contains(&ip),
        };
        let protocol = if ip.is_ipv4() { "ARP" } else { "ND" };
        let slice = self.here.slice;
        let vlan = self.key.vlan;
        let Some((key, row)) = slice.rows_of(self.net).find(|(key, row)| key.vlan == vlan && owns(row)) else {
            if let Some((other, _)) = slice.rows_of(self.net).find(|(_, row)| owns(row)) {
                return self.apart(ip, other);
            }
            return self.held(network, protocol, ip);
        };
        let asks = asks(slice, network, row);
        let port = of_port(slice, self.net, row);
        self.pass("row", format!("{ip} is {}{port} on {}; {protocol} questions for it {asks}", key.mac, row.node));
        Some((key, row))
    }

    /// No row answers for an address: where guests may hold it, its questions go to all, and who holds it answers. The frame is followed to
    /// the first of them that it reaches.
    fn held(&mut self, network: &'a Network, protocol: &str, ip: IpAddr) -> Option<(&'a RowKey, &'a Row)> {
        let rows = self.here.slice.rows_of(self.net).filter(|(key, _)| key.vlan == self.key.vlan);
        let mut may: Vec<_> = rows.filter(|(_, row)| row.floating.contains(&ip)).collect();
        let names: Vec<String> = may.iter().map(|(key, row)| format!("{} on {}", key.mac, row.node)).collect();
        let mut held = format!("{ip} is held by one of {}; {protocol} is not answered for it", names.join(", "));
        if may.is_empty() {
            may = may_hold::anybody(self.here.slice, self.net, self.key.vlan);
            may.retain(|(key, _)| *key != self.key);
            held = format!("no port has {ip}; who declares no address may use it: {}", may_hold::words(&may));
        }
        let Some(first) = may.first() else { return self.unheld(network, protocol, ip) };
        if network.flood == Flood::Off {
            return self.flood(network, &held);
        }
        self.pass("row", format!("{held}: its questions go to all, who holds it answers"));
        let (key, row) = self.first_reached(network, &may).unwrap_or(*first);
        let text = format!("who holds {ip} now is not known here; if it is {} on {}:", key.mac, row.node);
        self.open(HOLDER, text);
        Some((key, row))
    }

    /// The first of some guests that a frame of the sender reaches, or the first; it is not the sender itself.
    fn first_reached(&self, network: &Network, may: &[(&'a RowKey, &'a Row)]) -> Option<(&'a RowKey, &'a Row)> {
        let Chain { here, key: own, net, .. } = *self;
        let other = |(key, _): &&(&'a RowKey, &'a Row)| *key != own;
        let reached = |(_, row): &&(&'a RowKey, &'a Row)| {
            let mut trial = Chain { here, key: own, net, steps: Vec::new(), mac: None, probed: false };
            row.node == here.slice.node || trial.across(network, row).is_some()
        };
        may.iter().filter(other).find(reached).or_else(|| may.iter().find(other)).copied()
    }

    /// Nobody that is known may have an address.
    fn unheld<T>(&mut self, network: &Network, protocol: &str, ip: IpAddr) -> Option<T> {
        let none = format!("no row answers {protocol} for {ip}");
        if network.flood != Flood::Off && may_hold::has_unknown(network) {
            let (members, name) = (network.members.len(), &network.name);
            let text = format!(
                "{none}; its questions go to all {members} members, and a guest of {name} that has not been heard yet may have it (learning: local)"
            );
            self.open("flood", text);
            return None;
        }
        self.flood(network, &format!(
            "{none} (a port that uses it and does not have it is refused on its node, and meshctl status there names it: {NOT_ITS})"
        ))
    }

    /// A frame for all that listen has no row: it goes where the network floods.
    fn broadcast(&mut self, network: &Network, why: &str) -> Option<()> {
        let (members, name) = (network.members.len(), &network.name);
        let limit = if network.flood == Flood::Suppress { ", rate-limited" } else { "" };
        let tag = self.key.vlan.map_or_else(String::new, |vlan| format!(" with VLAN {vlan}"));
        if network.flood == Flood::Off {
            return self.flood(network, why);
        }
        self.pass(
            "flood",
            format!("{why}: it goes{tag} to the guests of {name} on this node and to all {members} nodes that share it{limit}"),
        );
        Some(())
    }

    /// The target is in another VLAN of the network.
    fn apart<T>(&mut self, what: impl fmt::Display, other: &RowKey) -> Option<T> {
        let (theirs, ours) = (explain_guests::vlan(other.vlan), explain_guests::vlan(self.key.vlan));
        self.end("row", format!("{what} is in {theirs} of {}, the sender in {ours}: two VLANs are apart", self.net))
    }

    fn flood<T>(&mut self, network: &Network, why: &str) -> Option<T> {
        let members = network.members.len();
        let text = match network.flood {
            Flood::Off => format!("{why}; flood is off, so it is dropped"),
            Flood::Suppress => {
                format!("{why}; it goes to all {members} members, rate-limited")
            }
            Flood::Replicate => format!("{why}; it goes to all {members} members"),
        };
        self.end("flood", text)
    }

    fn across(&mut self, network: &Network, row: &Row) -> Option<()> {
        let here = self.here;
        let verdict = here.paths.get(self.net).and_then(|paths| paths.get(&row.node));
        let (Some(verdict), Some(peer)) = (verdict, here.slice.peers.get(&row.node)) else {
            return self.end("policy", format!("{} is no member of {} here", row.node, network.name));
        };
        self.pass("policy", format!("{}: {}", verdict.path, verdict.why));
        let carrier = self.path(network, row, peer, verdict)?;
        self.outer(network, &row.node, peer, verdict)?;
        self.now(network, &row.node, verdict)?;
        self.mtu(network, &row.node, verdict, carrier)
    }

    fn path(&mut self, network: &Network, row: &Row, peer: &Peer, verdict: &Verdict) -> Option<Carrier> {
        let outer = paths::family(peer, verdict.outer, self.own(verdict));
        match verdict.path {
            Path::Forbidden => {
                self.end("path", format!("forbidden: nothing goes from {} to {}", network.name, row.node))
            }
            Path::Plain => {
                let vxlan = names::device(Device::Vxlan, self.net.vni, network.udp_port);
                self.pass("path", format!("plain VXLAN by the kernel, device {vxlan}, VNI {}", self.net.vni));
                Some(Carrier::Plain(outer))
            }
            Path::Tunnel if peer.public_key.is_none() => {
                self.end("path", format!("{} has not joined yet: no key, so no tunnel", row.node))
            }
            Path::Tunnel if peer.foreign.is_some() => {
                self.pass("path", format!("WireGuard to the foreign peer {}, IP and VXLAN inside (form A)", row.node));
                Some(Carrier::Standard { outer, inner: Family::V4 })
            }
            Path::Tunnel => {
                self.pass("path", format!("WireGuard to {}, VXLAN inside (form B)", row.node));
                Some(Carrier::Compact(outer))
            }
        }
    }

    /// This node's address on the side that a verdict is for, as it finds it itself.
    const fn own(&self, verdict: &Verdict) -> Option<IpAddr> {
        match verdict.outer {
            Outer::Admin => self.here.own.admin,
            Outer::External => self.here.own.external,
        }
    }

    fn outer(&mut self, network: &Network, node: &NodeId, peer: &Peer, verdict: &Verdict) -> Option<()> {
        let own = self.own(verdict);
        let there = match verdict.path {
            Path::Plain => paths::vtep(peer, verdict.outer)
                .map(|address| std::net::SocketAddr::new(address, network.udp_port.get())),
            Path::Tunnel | Path::Forbidden => paths::endpoint(peer, verdict.outer, 0),
        };
        let side = match verdict.outer {
            Outer::Admin => "admin",
            Outer::External => "external",
        };
        match (own, there) {
            (Some(own), Some(there)) => {
                let own = source(own, there.ip());
                self.pass("outer", format!("{own} -> {}, UDP port {} ({side})", there.ip(), there.port()));
                Some(())
            }
            (None, _) => self.by_session(node, verdict, format!("this node has no {side} address")),
            (Some(own), None) if peer.foreign.is_some() => {
                self.pass("outer", format!("{own} -> wherever the peer called from ({side})"));
                Some(())
            }
            (Some(_), None) => self.by_session(node, verdict, format!("the peer has no {side} address")),
        }
    }

    /// An address is missing: an interface was renamed, say. No plain path is without one, but a session that stands goes on by the addresses that
    /// it has, and who explains without seeing it does not know.
    fn by_session(&mut self, node: &NodeId, verdict: &Verdict, missing: String) -> Option<()> {
        let session = self.here.live.map(|live| live.tunnels.get(node));
        match session {
            _ if verdict.path != Path::Tunnel => self.end("outer", missing),
            Some(Some(Now::Answers(_))) => {
                self.pass("outer", format!("{missing} now; the session goes on by the addresses that it has"));
                Some(())
            }
            Some(Some(Now::Unknown(_))) | None => {
                self.open(
                    "outer",
                    format!("{missing} now; a session that stands goes on by the addresses that it has"),
                );
                Some(())
            }
            Some(Some(Now::Fails(_)) | None) => self.end("outer", missing),
        }
    }

    /// Whether the path that is decided on carries now.
    fn now(&mut self, network: &Network, node: &NodeId, verdict: &Verdict) -> Option<()> {
        let Some(live) = self.here.live else { return Some(()) };
        let now = match verdict.path {
            Path::Plain => live.plain.get(&(node.clone(), network.udp_port)),
            Path::Tunnel | Path::Forbidden => live.tunnels.get(node),
        };
        match now {
            Some(Now::Answers(text)) => {
                self.probed = true;
                self.pass("now", text.clone());
            }
            Some(Now::Unknown(text)) => self.open("now", text.clone()),
            Some(Now::Fails(text)) => return self.end("now", text.clone()),
            None => self.open("now", "this path is not watched"),
        }
        Some(())
    }

    fn mtu(&mut self, network: &Network, node: &NodeId, verdict: &Verdict, carrier: Carrier) -> Option<()> {
        let (guest, name) = (network.guest_mtu, &network.name);
        let far = self.here.far.get(node).copied();
        let (own, far) = match verdict.outer {
            Outer::Admin => (self.here.admin_mtu, far.map(|[admin, _]| admin)),
            Outer::External => (self.here.external_mtu, far.map(|[_, external]| external)),
        };
        let Some(own) = own else {
            self.pass("mtu", format!("guests of {name} have an MTU of {guest}; the underlay's is not known"));
            return Some(());
        };
        let underlay = far.map_or_else(|| own.get(), |far| far.min(own.get()));
        let measured = self.here.measured.get(node).filter(|_| verdict.path == Path::Tunnel);
        let span = Span { carrier, underlay, measured: measured.map(|measured| measured.bytes) };
        let policy = network.mtu.unwrap_or_default();
        let vlan = self.key.vlan.is_some() || policy.vlan;
        self.pass("mtu", carrier.sum(underlay, vlan).to_string());
        let sum = span.sum(vlan);
        if let Some(measured) = measured.filter(|_| span.size() < underlay) {
            let less = underlay - span.size();
            self.pass(
                "mtu",
                format!("measured: {} bytes arrive since {}, {less} fewer", measured.bytes, measured.since),
            );
            self.pass("mtu", sum.to_string());
        }
        match guest.get().checked_sub(sum.guest()) {
            None | Some(0) => self.pass("mtu", format!("guests of {name} have {guest}: it fits")),
            Some(missing) => {
                let fate = match verdict.path {
                    Path::Tunnel => "a frame that uses them travels in fragments",
                    Path::Plain | Path::Forbidden => "a frame that uses them is dropped and counted",
                };
                self.pass("mtu", format!("guests of {name} have {guest}, {missing} bytes more than fit: {fate}"));
            }
        }
        if verdict.path == Path::Tunnel {
            self.pass("mtu", format!("a frame of more than {guest} is {}", spans::fate(policy.oversize)));
        }
        Some(())
    }
}

/// What packets to an address leave from, in words. Of another family than `own` it is the kernel that chooses: management may have declared an
/// address of this node that it has not found by itself.
fn source(own: IpAddr, to: IpAddr) -> String {
    match (own.is_ipv4(), to.to_canonical().is_ipv4()) {
        (true, false) => "this host's IPv6 address".to_owned(),
        (false, true) => "this host's IPv4 address".to_owned(),
        (true, true) | (false, false) => own.to_string(),
    }
}

/// Whose port a guest is, in words that follow it. A guest of a guest has none, and is behind the interface of the other's.
fn of_port(slice: &Slice, net: &NetKey, row: &Row) -> String {
    if let Some(port) = &row.port {
        return format!(" of port {port}");
    }
    let outer = |other: &&Row| other.node == row.node && row.interface.is_some() && other.interface == row.interface;
    let behind = slice.rows_of(net).map(|(_, other)| other).filter(outer).find_map(|other| other.port.as_ref());
    behind.map_or_else(|| " without a port".to_owned(), |port| format!(" behind the guest of port {port}"))
}

/// Why a target is everybody, if it is.
fn for_all(network: &Network, to: &Target) -> Option<String> {
    match to {
        Target::Mac(mac) => mac.is_group().then(|| format!("{mac} is a group address")),
        Target::Ip(ip) => {
            explain_guests::is_for_all(*ip, &network.cidr).then(|| format!("{ip} is for all that listen"))
        }
        Target::Port(_) => None,
    }
}

/// Who answers for a row, in words.
fn addresses(slice: &Slice, network: &Network, row: &Row) -> String {
    let arp = row.arp.iter().map(ToString::to_string);
    let all: Vec<String> = arp.chain(row.nd.iter().map(ToString::to_string)).collect();
    let asks = asks(slice, network, row);
    if all.is_empty() { String::new() } else { format!("; questions for {} {asks}", all.join(", ")) }
}

/// Whom a question for an address of a row reaches (docs/datapath.md, "Who is asked").
fn asks(slice: &Slice, network: &Network, row: &Row) -> &'static str {
    if network.flood == Flood::Replicate || row.node == slice.node {
        "are for all, and it is who answers"
    } else {
        "are for it alone, and nobody else answers"
    }
}

/// Nobody here has that port; what is most like it.
fn nobody(slice: &Slice, port: &PortId) -> String {
    let known = slice.rows.values().filter_map(|row| row.port.as_ref());
    let near = crate::config::nearest(port.as_str(), known.map(PortId::as_str));
    let near = near.map_or_else(String::new, |near| format!("did you mean '{near}'? "));
    format!(
        "no row of {port} reached {}, which knows the ports of its own networks; {near}all: meshctl port list",
        slice.node
    )
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
