//! A frame as packet filters see it: what it answers to what a rule asks of it, in the words of `nft -j` (libnftables-json(5)).

use std::net::IpAddr;

use serde_json::Value;

use crate::probe::crossing::Protocol;
use crate::types::Mac;

/// A frame, as far as it is known. What is not known may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// Interface that it comes by, as the family of the chain sees it.
    pub iif: Option<String>,
    /// Interface that it leaves by.
    pub oif: Option<String>,
    /// Its bridge.
    pub bridge: Option<String>,
    /// Its protocol. What is IP is UDP to port 7, if `any` is not set.
    pub protocol: Option<Protocol>,
    /// What it carries, and who has marked it, may be anything.
    pub any: bool,
    /// Addresses of who sends it: it bears one of them.
    pub from: Vec<IpAddr>,
    /// Addresses of whom it is for.
    pub to: Vec<IpAddr>,
    /// Ethernet address of who sends it.
    pub from_mac: Option<Mac>,
    /// Ethernet address of whom it is for.
    pub to_mac: Option<Mac>,
    /// The port of the bridge that it comes by, whatever the family of the chain sees.
    pub near: Option<String>,
    /// The port of the bridge that it leaves by.
    pub far: Option<String>,
    /// Interfaces and addresses of it that are not known are nobody's: no rule names them.
    pub strange: bool,
    /// What is nobody's is in no set and no map.
    pub unlisted: bool,
}

/// One side of a comparison.
pub(super) enum Fact {
    /// The frame does not have it: the rule ends there.
    Absent,
    Unknown,
    Text(String),
    Number(u64),
    /// One of these.
    Addresses(Vec<IpAddr>),
    Mac(Mac),
    /// Of nobody that a rule names; true: it is in no set either.
    Strange(bool),
}

impl Frame {
    pub(super) fn fact(&self, left: &Value) -> Fact {
        let Some((word, value)) = left.as_object().and_then(|left| left.iter().next()) else { return Fact::Unknown };
        match word.as_str() {
            // Ports of bridges, as iptables sees them.
            "physdev" if value.as_str() == Some("in") => self.name(&self.near),
            "physdev" => self.name(&self.far),
            "meta" => self.meta(value.get("key").or(Some(value)).and_then(Value::as_str).unwrap_or_default()),
            "&" => self.masked(value),
            "payload" if value.get("base").is_some() => self.raw(value),
            "payload" => {
                let of = |name| value.get(name).and_then(Value::as_str).unwrap_or_default();
                self.payload(of("protocol"), of("field"))
            }
            // Frames of our bridges are not tracked.
            "ct" if value.get("key").and_then(Value::as_str) == Some("state") => Fact::Text("untracked".into()),
            "ct" => Fact::Absent,
            _ => Fact::Unknown,
        }
    }

    /// A fact of which only some bits are asked.
    fn masked(&self, value: &Value) -> Fact {
        let Some([of, mask]) = value.as_array().map(Vec::as_slice) else { return Fact::Unknown };
        let mask = mask.as_str().and_then(|mask| mask.parse().ok());
        match (self.fact(of), mask) {
            (Fact::Mac(mac), Some(Mac(mask))) => Fact::Mac(Mac(std::array::from_fn(|at| mac.0[at] & mask[at]))),
            (fact @ (Fact::Strange(_) | Fact::Absent), _) => fact,
            _ => Fact::Unknown,
        }
    }

    /// What a rule asks by its place: the addresses of IPv4 and IPv6 (RFC 791 section 3.1, RFC 8200 section 3), and those of Ethernet.
    fn raw(&self, value: &Value) -> Fact {
        let of = |name| value.get(name).and_then(Value::as_u64);
        let base = value.get("base").and_then(Value::as_str);
        match (base, of("offset"), of("len"), self.protocol) {
            (Some("nh"), Some(96), Some(32), Some(Protocol::Ipv4)) => self.payload("ip", "saddr"),
            (Some("nh"), Some(128), Some(32), Some(Protocol::Ipv4)) => self.payload("ip", "daddr"),
            (Some("nh"), Some(64), Some(128), Some(Protocol::Ipv6)) => self.payload("ip6", "saddr"),
            (Some("nh"), Some(192), Some(128), Some(Protocol::Ipv6)) => self.payload("ip6", "daddr"),
            (Some("ll"), Some(0), Some(48), _) => self.payload("ether", "daddr"),
            (Some("ll"), Some(48), Some(48), _) => self.payload("ether", "saddr"),
            _ => Fact::Unknown,
        }
    }

    const fn missing(&self) -> Fact {
        if self.strange { Fact::Strange(self.unlisted) } else { Fact::Unknown }
    }

    fn name(&self, name: &Option<String>) -> Fact {
        name.clone().map_or_else(|| self.missing(), Fact::Text)
    }

    fn mac(&self, mac: Option<Mac>) -> Fact {
        mac.map_or_else(|| self.missing(), Fact::Mac)
    }

    fn addresses(&self, addresses: &[IpAddr], ipv6: bool) -> Fact {
        let of: Vec<IpAddr> = addresses.iter().copied().filter(|address| address.is_ipv6() == ipv6).collect();
        if of.is_empty() { self.missing() } else { Fact::Addresses(of) }
    }

    fn meta(&self, key: &str) -> Fact {
        let text = |text: &Option<String>| self.name(text);
        let Some(protocol) = self.protocol else {
            return match key {
                "iif" | "iifname" => text(&self.iif),
                "oif" | "oifname" => text(&self.oif),
                "ibrname" | "obrname" => text(&self.bridge),
                _ => Fact::Unknown,
            };
        };
        match key {
            "iif" | "iifname" => text(&self.iif),
            "oif" | "oifname" => text(&self.oif),
            "ibrname" | "obrname" => text(&self.bridge),
            "protocol" => Fact::Text(ethertype(protocol).into()),
            "nfproto" if protocol == Protocol::Ipv6 => Fact::Text("ipv6".into()),
            "nfproto" if protocol == Protocol::Ipv4 => Fact::Text("ipv4".into()),
            "l4proto" if protocol == Protocol::Arp => Fact::Absent,
            "l4proto" | "mark" | "pkttype" if self.any => Fact::Unknown,
            "l4proto" => Fact::Text("udp".into()),
            "mark" => Fact::Number(0),
            "pkttype" if protocol == Protocol::Arp => Fact::Text("broadcast".into()),
            _ => Fact::Unknown,
        }
    }

    fn payload(&self, protocol: &str, field: &str) -> Fact {
        let frame = self;
        match (protocol, field) {
            ("ether", "saddr") => return self.mac(frame.from_mac),
            ("ether", "daddr") => return self.mac(frame.to_mac),
            _ => {}
        }
        let Some(of) = frame.protocol else { return Fact::Unknown };
        let is = match protocol {
            "ether" if field == "type" => return Fact::Text(ethertype(of).into()),
            "ip" => of == Protocol::Ipv4,
            "ip6" => of == Protocol::Ipv6,
            "arp" => of == Protocol::Arp,
            "udp" | "th" | "tcp" | "icmp" | "icmpv6" | "sctp" | "dccp" | "esp" | "ah" | "comp"
                if frame.any && of != Protocol::Arp =>
            {
                return Fact::Unknown;
            }
            "udp" | "th" => of != Protocol::Arp,
            "tcp" | "icmp" | "icmpv6" | "sctp" | "dccp" | "esp" | "ah" | "comp" | "vlan" => false,
            _ => return Fact::Unknown,
        };
        if !is {
            return Fact::Absent;
        }
        let ipv6 = of == Protocol::Ipv6;
        match (protocol, field) {
            ("ip" | "ip6", "saddr") | ("arp", "saddr ip") => self.addresses(&frame.from, ipv6),
            ("ip" | "ip6", "daddr") | ("arp", "daddr ip") => self.addresses(&frame.to, ipv6),
            ("arp", "saddr ether") => self.mac(frame.from_mac),
            ("ip", "protocol") | ("ip6", "nexthdr") if frame.any => Fact::Unknown,
            ("ip", "protocol") | ("ip6", "nexthdr") => Fact::Text("udp".into()),
            ("udp" | "th", "dport") => Fact::Number(7),
            _ => Fact::Unknown,
        }
    }
}

fn ethertype(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Arp => "arp",
        Protocol::Ipv4 => "ip",
        Protocol::Ipv6 => "ip6",
    }
}
