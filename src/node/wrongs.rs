//! Guests that say what they may not: which port, which interface, and the value that was refused. It is told for as long as it goes on,
//! and a minute longer. What a guest invents is sampled in the kernel (`fence_rules`), and the first value stays the one that is told:
//! a guest that sends a thousand wrong addresses is one finding, which does not change. One that goes over from one wrong address to another is
//! told with the one that it uses now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::desired::Desired;
use super::fence::{Refused, Said};
use super::presence::Wrong as Told;
use super::presence::{At, Guest, Named, Presence, bounded, name_of, port_of};
use super::rights;
use super::swapped;
use crate::api::local::Finding;
use crate::table::{NetKey, PortRole, Roles, Row, RowKey, Slice};
use crate::types::{IfName, Mac, Mono, Vlan};
use crate::wire::nd;

/// Reasons whose frames are sampled.
pub const SAMPLED: [&str; 4] = ["mac", "ip", "arp", "nd"];
/// Codes of what is said here.
pub(super) const SAYS: [&str; 5] = ["M0675", NOT_ITS, TAKEN, "M0678", "M0692"];
/// Code of a guest that uses what is another's.
const TAKEN: &str = "M0677";
/// Code of a guest that uses an address that its port does not have.
pub(super) const NOT_ITS: &str = "M0676";
/// How long it is told after the last sample; they are taken every ten seconds.
const QUIET: Duration = Duration::from_secs(60);
/// Samples that make it more than a slip: a frame of before, of a guest that has just been changed.
const REPEATED: u64 = 2;
/// The same where a guest claims an address, by ARP or neighbour discovery: who finds that it is another's asks once and gives it up
/// (RFC 4862 section 5.4.5, RFC 5227 section 2.1.1), and that one is told too.
const CLAIMED: u64 = 1;
/// How long samples of what is right by now are passed over: the kernel forgets them after a minute, and they are read within ten seconds.
const STALE: Duration = Duration::from_secs(75);
/// How long the value that is told was not sampled, so that another one which is sampled again and again is told in its place.
const CHANGED: Duration = Duration::from_secs(20);
/// Values of one interface at a time that are not invented.
const FEW: usize = 4;
/// Interfaces that are told of at most.
const MOST: usize = 256;

/// What one interface says and may not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wrong {
    mac: Mac,
    value: Option<IpAddr>,
    /// Of all that it says.
    samples: u64,
    last: Mono,
    /// When the value that is told was sampled last.
    seen: Mono,
    /// All that it said at the last look, and how often.
    counts: Counts,
    /// What it says was its right already when it was told first.
    right: Option<bool>,
}

/// What was said: by which interface, for which reason it was refused, from which address, for which.
type Saying = (IfName, &'static str, Mac, Option<IpAddr>);

/// How often the values of one interface were sampled.
type Counts = BTreeMap<(Mac, Option<IpAddr>), u64>;

impl Wrong {
    /// Takes the samples of another look.
    fn learn(&mut self, counts: Counts, now: Mono) {
        let grown = |id: &(Mac, Option<IpAddr>), count: u64| self.counts.get(id) != Some(&count);
        let own = (self.mac, self.value);
        if counts.get(&own).is_some_and(|count| grown(&own, *count)) {
            (self.seen, self.last) = (now, now);
        } else if counts.len() > FEW && counts.iter().any(|(id, count)| grown(id, *count)) {
            // It invents them: which one is told stays, and it goes on.
            self.last = now;
        }
        let repeated = counts.iter().filter(|(id, count)| **count >= REPEATED && grown(id, **count));
        let other = repeated.max_by_key(|(_, count)| **count).map(|(id, _)| *id);
        let over = counts.len() <= FEW && now.since(self.seen) >= CHANGED;
        if let Some((mac, value)) = other.filter(|_| over) {
            (self.mac, self.value, self.right) = (mac, value, None);
            (self.seen, self.last) = (now, now);
        }
        self.samples = counts.values().sum();
        self.counts = counts;
    }
}

/// All of them, by interface and reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wrongs {
    all: BTreeMap<(IfName, &'static str), Wrong>,
    /// What has become right since it was said, and until when samples of it are of before.
    stale: BTreeMap<Saying, Mono>,
}

impl Wrongs {
    /// Takes the samples of one reason.
    pub fn learn(&mut self, reason: &'static str, said: &[Said], now: Mono) {
        let mut seen: BTreeMap<&IfName, Vec<&Said>> = BTreeMap::new();
        let stale = |one: &&Said| self.stale.contains_key(&(one.interface.clone(), reason, one.mac, one.value));
        for one in said.iter().filter(|one| !stale(one)) {
            seen.entry(&one.interface).or_default().push(one);
        }
        // What the kernel has forgotten begins anew.
        let of = self.all.iter_mut().filter(|((interface, of), _)| *of == reason && !seen.contains_key(interface));
        of.for_each(|(_, wrong)| wrong.counts.clear());
        for (interface, all) in seen {
            let least = if matches!(reason, "arp" | "nd") { CLAIMED } else { REPEATED };
            let (key, samples) = ((interface.clone(), reason), all.iter().map(|one| one.samples).sum());
            let counts = all.iter().map(|one| ((one.mac, one.value), one.samples)).collect();
            if let Some(wrong) = self.all.get_mut(&key) {
                wrong.learn(counts, now);
            } else if let Some(first) = all.first().filter(|_| samples >= least && self.all.len() < MOST) {
                let (mac, value) = (first.mac, first.value);
                let wrong = Wrong { mac, value, samples, last: now, seen: now, counts, right: None };
                self.all.insert(key, wrong);
            }
        }
    }

    /// Takes whose Ethernet addresses were refused. Samples are few, and who sends from many invented ones hides by them that one is taken from
    /// another guest: that one is told, whatever was sampled first.
    pub fn taken(&mut self, slice: &Slice, places: &BTreeMap<IfName, NetKey>, refused: &[Refused]) {
        let declared = |net: &NetKey, mac| slice.rows_of(net).any(|(key, _)| key.mac == mac);
        for one in refused.iter().filter(|one| one.frames >= REPEATED) {
            let (Some(mac), Some(net)) = (one.mac, places.get(&one.interface)) else { continue };
            let Some(wrong) = self.all.get_mut(&(one.interface.clone(), "mac")) else { continue };
            if declared(net, mac) && !declared(net, wrong.mac) {
                (wrong.mac, wrong.right) = (mac, None);
            }
        }
    }

    /// Forgets what has ended, and what interfaces said that stand in no bridge of ours now.
    pub fn end(&mut self, places: &BTreeMap<IfName, NetKey>, now: Mono) {
        self.all.retain(|(name, _), wrong| places.contains_key(name) && now.since(wrong.last) < QUIET);
    }

    /// Forgets what has become right: a port was changed, and what its guest said before is no longer wrong.
    pub fn settle(&mut self, slice: &Slice, presence: &Presence, places: &BTreeMap<IfName, NetKey>, now: Mono) {
        self.stale.retain(|_, until| now < *until);
        let stale = &mut self.stale;
        self.all.retain(|(interface, reason), wrong| {
            let Some(net) = places.get(interface) else { return true };
            let right = is_right(slice, presence, (net, interface, reason), wrong.mac, wrong.value);
            let was = *wrong.right.get_or_insert(right);
            // Of its own address a guest may speak as no host does; that was wrong from the first.
            let mended = right && (!was || matches!(*reason, "mac" | "ip"));
            if mended {
                stale.insert((interface.clone(), reason, wrong.mac, wrong.value), now + STALE);
            }
            !mended
        });
    }

    /// The Ethernet addresses that are refused, by the interface of a network that they are heard behind.
    fn macs(&self, places: &BTreeMap<IfName, NetKey>) -> BTreeMap<IfName, Mac> {
        let macs = self.all.iter().filter(|((name, _), wrong)| wrong.value.is_none() && places.contains_key(name));
        macs.map(|((name, _), wrong)| (name.clone(), wrong.mac)).collect()
    }

    /// What is wrong.
    pub fn findings(
        &self,
        slice: &Slice,
        desired: &Desired,
        presence: &Presence,
        places: &BTreeMap<IfName, NetKey>,
    ) -> Vec<Finding> {
        let mut by_code: BTreeMap<&'static str, BTreeSet<Told>> = BTreeMap::new();
        let swapped = swapped::find(slice, &self.macs(places));
        let mut among = BTreeSet::new();
        for ring in &swapped {
            among.extend(ring.iter().map(|one| &one.heard));
            by_code.entry("M0692").or_default().insert(swapped::told(slice, ring));
        }
        for ((interface, reason), wrong) in &self.all {
            let Some(net) = places.get(interface) else { continue };
            if wrong.value.is_none() && among.contains(interface) {
                continue;
            }
            let own = ports(slice, desired, net, interface);
            let misnamed = wrong.value.is_none().then(|| misnamed(slice, presence, net, interface, &own, wrong.mac));
            if let Some((what, help)) = misnamed.flatten() {
                let guests = vec![(net.clone(), wrong.mac)];
                by_code.entry("M0692").or_default().insert(Told {
                    what,
                    help,
                    guests,
                    surely: true,
                    away: false,
                    from: None,
                });
                continue;
            }
            let (code, what, help) = match wrong.value {
                None => about_mac(slice, net, interface, &own, wrong.mac),
                Some(value) => about_ip(slice, (net, interface, reason), wrong.mac, value),
            };
            if wrong.samples < REPEATED && code != TAKEN {
                continue;
            }
            // Who uses a wrong IP address may use its own as well; who sends from another Ethernet address most often sends from no other.
            let guests = match wrong.value {
                None => behind(desired, net, interface),
                Some(_) => vec![(net.clone(), wrong.mac)],
            };
            by_code.entry(code).or_default().insert(Told {
                what,
                help,
                guests,
                surely: wrong.value.is_none(),
                away: false,
                from: wrong.value,
            });
        }
        by_code.into_iter().flat_map(|(code, all)| bounded(code, all.into_iter().collect())).collect()
    }
}

/// True where a guest may say by now what was refused: from its Ethernet address behind its own interface, from addresses of its port, and
/// packets of others where it routes them.
fn is_right(
    slice: &Slice,
    presence: &Presence,
    (net, interface, reason): (&NetKey, &IfName, &str),
    mac: Mac,
    value: Option<IpAddr>,
) -> bool {
    let mut own = slice.rows_of(net).filter(|(key, row)| key.mac == mac && row.node == slice.node);
    let Some(value) = value else {
        let here = presence.of(&(net.clone(), mac)).and_then(|here| here.interface.as_ref());
        return here == Some(interface) && own.any(|(key, _)| key.vlan.is_none());
    };
    // In ARP and neighbour discovery a router speaks for itself only, as everybody does.
    own.any(|(_, row)| has(row, value) || reason == "ip" && row.role.has(PortRole::Router))
}

/// True for an address that a guest may speak for.
fn has(row: &Row, value: IpAddr) -> bool {
    let mut all = row.addresses().peekable();
    all.peek().is_none() || all.any(|address| address == value)
}

/// A guest whose port names another interface than the one it is behind, which is not in its bridge: nobody has taken its address, the name is
/// wrong. Where the interface that it is heard behind is another port's, that one may take what is not its own.
fn misnamed(
    slice: &Slice,
    presence: &Presence,
    net: &NetKey,
    interface: &IfName,
    own: &Option<(Named, Mac)>,
    mac: Mac,
) -> Option<(String, String)> {
    let here = presence.of(&(net.clone(), mac)).filter(|_| own.is_none())?;
    let named = here.interface.as_ref().filter(|named| *named != interface)?;
    let how = match &here.at {
        At::Absent => "is not there".to_owned(),
        At::Hosts => "is this host's own".to_owned(),
        At::Nowhere | At::Refused(_) | At::Elsewhere(_) | At::OtherNetwork(_) => format!("is not in {}", here.bridge),
        At::Plugged | At::Down | At::Dark | At::Blocked | At::Isolated | At::Silent => return None,
    };
    let (port, network) = (port_of(slice, net, mac), name_of(slice, net));
    let what = format!(
        "{port} in network {network} names {named}, which {how}; its address {mac} is heard behind {interface}, which no port names: it is dropped"
    );
    let name = port.argument();
    Some((what, format!("if its guest is behind {interface}: meshctl port set {name} --interface {interface}")))
}

/// The port that names an interface.
pub(super) fn ports(slice: &Slice, desired: &Desired, net: &NetKey, interface: &IfName) -> Option<(Named, Mac)> {
    let of = desired.networks.values().find(|of| of.key == *net)?;
    let mac = *of.guests.get(interface)?.first()?;
    Some((port_of(slice, net, mac), mac))
}

/// The guests of the ports that name an interface.
fn behind(desired: &Desired, net: &NetKey, interface: &IfName) -> Vec<Guest> {
    let of = desired.networks.values().find(|of| of.key == *net);
    let macs = of.and_then(|of| of.guests.get(interface)).into_iter().flatten();
    macs.map(|mac| (net.clone(), *mac)).collect()
}

fn about_mac(
    slice: &Slice,
    net: &NetKey,
    interface: &IfName,
    own: &Option<(Named, Mac)>,
    mac: Mac,
) -> (&'static str, String, String) {
    let network = name_of(slice, net);
    let who = own.as_ref().map_or_else(|| interface.to_string(), |(port, _)| format!("{port} ({interface})"));
    let find = |key: &RowKey| key.mac == mac;
    if let Some((tag, other)) = tagged(slice, net, own, mac) {
        let what = format!(
            "{who} in network {network} sends from {mac} without a tag, and {other} is in VLAN {tag}; it is dropped"
        );
        return (
            "M0675",
            what,
            format!("let the guest tag its frames with VLAN {tag}, or take the VLAN from the port"),
        );
    }
    if let Some((_, row)) = slice.rows_of(net).find(|(key, _)| find(key)) {
        let what = format!(
            "{who} in network {network} sends from {mac}, the Ethernet address of {} on {}: that is taken twice, or two networks are joined; \
             it is dropped",
            port_of(slice, net, mac),
            row.node
        );
        let mut help = format!("give one of the two another address; who it is: bridge fdb show | grep {mac}");
        if row.node == slice.node
            && let Some(port) = &row.port
        {
            // An interface that was renamed, or a guest that was moved: nobody has taken anything.
            help.push_str(&format!(
                "; if its guest is behind {interface} now: meshctl port set {port} --interface {interface}"
            ));
        }
        return (TAKEN, what, help);
    }
    if let Some((key, row)) = slice.rows.iter().find(|(key, _)| find(key)) {
        let other = key.net();
        let what = format!(
            "{interface} stands in network {network} and sends from {mac}, which is {} of network {} on {}: the wrong bridge, or two \
             networks are joined; it is dropped",
            port_of(slice, &other, mac),
            name_of(slice, &other),
            row.node
        );
        return ("M0678", what, format!("put {interface} into the bridge of its network: meshctl status"));
    }
    match own {
        Some((port, right)) => {
            let what = format!(
                "{port} ({interface}) in network {network}: its guest sends from {mac}, and the port has {right}; it is dropped"
            );
            let name = port.argument();
            if is_virtual_router(mac) {
                let help = format!(
                    "that is the address of a virtual router (VRRP, RFC 5798 section 7.3), which moves between guests and is nobody's here: leave \
                     use_vmac out of keepalived's configuration, and let each of them hold the IP address: meshctl port set {name} --allowed IP"
                );
                return ("M0675", what, help);
            }
            let help = format!(
                "give the guest {right}; where it is {mac} now: meshctl port set {name} --mac {mac}; where that is a guest of this guest \
                 (nested, macvlan): meshctl port set {name} --allowed {}",
                rights::allowed(
                    slice,
                    &RowKey { overlay: net.overlay.clone(), vni: net.vni, vlan: None, mac: *right },
                    &format!("IP={mac}")
                )
            );
            ("M0675", what, help)
        }
        None => {
            let what = format!("{interface} in network {network} sends from {mac}, which no port has; it is dropped");
            ("M0675", what, format!("meshctl port create NAME --network {network} --node {} --mac {mac}", slice.node))
        }
    }
}

/// An Ethernet address of VRRP, for IPv4 or IPv6 (RFC 5798 section 7.3).
fn is_virtual_router(mac: Mac) -> bool {
    matches!(mac.0, [0, 0, 0x5e, 0, 1 | 2, _])
}

/// The VLAN of a guest's own port, where it has no row without one.
fn tagged(slice: &Slice, net: &NetKey, own: &Option<(Named, Mac)>, mac: Mac) -> Option<(Vlan, Named)> {
    let (port, _) = own.as_ref()?;
    let own = || slice.rows_of(net).filter(|(key, row)| key.mac == mac && row.node == slice.node);
    let other = port_of(slice, net, mac);
    let tag = own().find_map(|(key, _)| key.vlan).filter(|_| other == *port)?;
    own().all(|(key, _)| key.vlan.is_some()).then_some((tag, other))
}

fn about_ip(
    slice: &Slice,
    (net, interface, reason): (&NetKey, &IfName, &str),
    mac: Mac,
    value: IpAddr,
) -> (&'static str, String, String) {
    let guest = port_of(slice, net, mac);
    let who = format!("{guest} ({interface}) in network {}", name_of(slice, net));
    let owns = |row: &Row| match value {
        IpAddr::V4(value) => row.arp.contains(&value),
        IpAddr::V6(value) => row.nd.contains(&value),
    };
    let link_local = value == IpAddr::V6(nd::link_local(mac));
    let own =
        |key: &RowKey, row: &Row| key.mac == mac && (link_local || row.addresses().any(|address| address == value));
    let holders: Vec<_> = slice.rows_of(net).filter(|(_, row)| owns(row)).collect();
    if slice.rows_of(net).any(|(key, row)| own(key, row)) {
        let (what, help) = about_own(&who, interface, reason, mac, value);
        return (NOT_ITS, what, help);
    }
    if let Some((key, row)) = holders.first() {
        let owner = port_of(slice, net, key.mac);
        let what = format!("{who} uses the address {value} of {owner} on {}; it is dropped", row.node);
        return (TAKEN, what, shared(slice, net, (interface, mac), (key, row), value));
    }
    let what = format!("{who} uses the address {value}, which the port does not have; it is dropped");
    if let Some(help) = outside(slice, net, value) {
        return (NOT_ITS, what, format!("{help}{}", if_router(slice, (net, mac), reason, value)));
    }
    (NOT_ITS, what, given(slice, (net, interface, reason), mac, value))
}

/// What to do about an address that the port does not have, and that it could have.
fn given(slice: &Slice, (net, interface, reason): (&NetKey, &IfName, &str), mac: Mac, value: IpAddr) -> String {
    let guest = port_of(slice, net, mac);
    if let (Named::Guest(_), Some((key, port))) = (&guest, rights::port_behind(slice, net, interface)) {
        // A guest of a guest: its addresses are those that its port names with it.
        let all = rights::allowed(slice, key, &format!("{value}={mac}"));
        return format!(
            "give the guest an address of its own, or {value} to it as well: meshctl port set {port} --allowed {all}"
        );
    }
    let port = guest.argument();
    let key = RowKey { overlay: net.overlay.clone(), vni: net.vni, vlan: None, mac };
    let all = [rights::ips(slice, &key, |_| true), vec![value.to_string()]].concat().join(",");
    // Where the network says no range, nobody knows which addresses are outside.
    let rangeless = slice.networks.get(net).is_some_and(|network| network.cidr.is_empty());
    let router = if rangeless { if_router(slice, (net, mac), reason, value) } else { String::new() };
    format!(
        "give the guest an address of its port, or {value} to the port as well: meshctl port set {port} --ip {all}; if other ports hold \
         it too (VRRP), each of them; here: meshctl port set {port} --allowed {}{router}",
        rights::allowed(slice, &key, &value.to_string())
    )
}

/// What was refused of an address that the guest has: most often the Ethernet address that it is said to be at. The kernel does not tell
/// which one that is.
fn about_own(who: &str, interface: &IfName, reason: &str, mac: Mac, value: IpAddr) -> (String, String) {
    let protocol = match reason {
        "arp" => "ARP",
        "nd" => "neighbour discovery",
        _ => {
            let what = format!("{who} speaks for its own address {value} in a way that no host does; it is dropped");
            return (what, format!("nft list counters table bridge vxmesh_guests; tcpdump -eni {interface}"));
        }
    };
    let what = format!(
        "{who} says by {protocol} that its own address {value} is at another Ethernet address than {mac}, which it sends from, or says it in a \
         form that no host uses; it is dropped"
    );
    let help = format!(
        "a virtual Ethernet address for {value} (a cluster's, VRRP's) is nobody's here: leave it out in the guest, and let {value} be at {mac}; \
         what it says: tcpdump -eni {interface} {}",
        if reason == "arp" { "arp" } else { "icmp6" }
    );
    (what, help)
}

/// What to do about an address that no port of the network can have, because it is outside of it.
fn outside(slice: &Slice, net: &NetKey, value: IpAddr) -> Option<String> {
    let network = slice.networks.get(net)?;
    let local = matches!(value, IpAddr::V6(value) if value.is_unicast_link_local());
    if local || network.cidr.is_empty() || network.cidr.iter().any(|prefix| prefix.contains(value)) {
        return None;
    }
    let has = network.cidr.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let name = &network.name;
    Some(format!(
        "take it off the guest's interface into the network (docker, or a router's advertisement, may have brought it there): {name} has {has}, and \
         no port of it another; if it is to be part of it: meshctl network set {name} --cidr {has},PREFIX"
    ))
}

/// What to do where the guest sends packets of others, because it routes for them. Only a port has a role, a guest of its guest has none.
fn if_router(slice: &Slice, (net, mac): (&NetKey, Mac), reason: &str, value: IpAddr) -> String {
    let local = matches!(value, IpAddr::V6(value) if value.is_unicast_link_local());
    let named = port_of(slice, net, mac);
    let row = slice.rows_of(net).find(|(key, _)| key.mac == mac).map(|(_, row)| row);
    if reason != "ip" || local || row.is_some_and(|row| row.port.is_none()) {
        return String::new();
    }
    // The command replaces the roles that it has.
    let roles: Roles = row.into_iter().flat_map(|row| row.role.iter()).chain([PortRole::Router]).collect();
    format!("; if it routes for others: meshctl port set {} --role {roles}", named.argument())
}

/// True for a finding of a guest that uses this address, which no port has.
pub fn uses(finding: &Finding, value: IpAddr) -> bool {
    finding.code == NOT_ITS && finding.what.contains(&format!(" uses the address {value}, "))
}

/// What to do where one guest uses the IP address of another.
fn shared(
    slice: &Slice,
    net: &NetKey,
    (interface, mac): (&IfName, Mac),
    (key, row): (&RowKey, &Row),
    value: IpAddr,
) -> String {
    let behind = rights::port_behind(slice, net, interface);
    if row.port.is_none() && row.node == slice.node && behind.is_some() && row.interface.as_ref() == Some(interface) {
        // Linux answers ARP for any address of its host by each interface (arp_ignore, Documentation/networking/ip-sysctl.rst).
        return format!(
            "{} is a guest of that guest: only it may answer for {value}; in the guest: sysctl -w net.ipv4.conf.all.arp_ignore=1 \
             net.ipv4.conf.all.arp_announce=2",
            key.mac
        );
    }
    let help = "give one of the two another address".to_owned();
    let (Named::Port(one), Named::Port(two)) = (port_of(slice, net, mac), port_of(slice, net, key.mac)) else {
        return help;
    };
    let own = slice.rows_of(net).find(|(_, row)| row.port.as_ref() == Some(&one)).map(|(key, _)| key);
    let Some(own) = own else { return help };
    let rest = rights::ips(slice, key, |ip| ip != value);
    let rest = if rest.is_empty() { "--unset ips".to_owned() } else { format!("--ip {}", rest.join(",")) };
    let [all_of_two, all_of_one] = [key, own].map(|key| rights::allowed(slice, key, &value.to_string()));
    let unsure = if row.node == slice.node { "" } else { " (with what it may use already: meshctl port show there)" };
    let unsure = unsure.replace("there", two.as_str());
    format!(
        "{help}; one that moves between both, as VRRP's, is neither's own: meshctl port set {two} {rest} --allowed {all_of_two}{unsure}, then \
         meshctl port set {one} --allowed {all_of_one}"
    )
}

#[cfg(test)]
#[path = "wrongs_tests.rs"]
mod tests;
