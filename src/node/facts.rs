//! A frame as packet filters see it: what it answers to what a rule asks of it, in the words of `nft -j` (libnftables-json(5)).

use std::net::IpAddr;

use serde_json::Value;

use super::marks::Marks;
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
    /// It is a frame of nobody in particular: what cannot be read of a rule, and may name somebody, does not name it.
    pub nobody: bool,
    /// Who sends it, where that is not known, may be anybody; and whom it is for, with the port that it leaves by.
    pub open: (bool, bool),
    /// What rules may have marked it with.
    pub marks: Marks,
}

/// Values of one fact that are followed, at most.
const VALUES: usize = 64;

/// One side of a comparison.
#[derive(Debug)]
pub(super) enum Fact {
    /// The frame does not have it: the rule ends there.
    Absent,
    /// It may be anything, and may be about somebody.
    Unknown,
    /// It may be anything, for whomever the frame is: ports, protocols, and who is not said.
    Content,
    Text(String),
    /// One of these.
    Numbers(Vec<u64>),
    /// One of these.
    Addresses(Vec<IpAddr>),
    Mac(Mac),
    /// Of nobody that a rule names.
    Strange,
}

/// A field of a header: where it begins, how many bits it has, and its name.
type Field = (u64, u64, &'static str, &'static str);

/// Bits of a number that is asked for by its place.
const WIDEST: u64 = 64;

impl Frame {
    pub(super) fn fact(&self, left: &Value) -> Fact {
        let Some((word, value)) = left.as_object().and_then(|left| left.iter().next()) else { return Fact::Unknown };
        match word.as_str() {
            // Ports of bridges, as iptables sees them.
            "physdev" if value.as_str() == Some("in") => self.name(&self.near, false),
            "physdev" => self.name(&self.far, self.open.1),
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
            // Where the host would send it, or would answer, is a question of its routes.
            "fib" | "socket" | "exthdr" | "ip option" | "tcp option" | "sctp chunk" | "dccp option" => Fact::Content,
            _ => Fact::Unknown,
        }
    }

    /// A fact of which only some bits are asked.
    fn masked(&self, value: &Value) -> Fact {
        let Some([of, mask]) = value.as_array().map(Vec::as_slice) else { return Fact::Unknown };
        match self.fact(of) {
            Fact::Mac(mac) => match mask.as_str().and_then(|mask| mask.parse().ok()) {
                Some(Mac(mask)) => Fact::Mac(Mac(std::array::from_fn(|at| mac.0[at] & mask[at]))),
                None => Fact::Unknown,
            },
            Fact::Numbers(all) => match mask.as_u64() {
                Some(mask) => Fact::Numbers(all.into_iter().map(|number| number & mask).collect()),
                None => Fact::Unknown,
            },
            Fact::Addresses(all) => {
                let each: Option<Vec<IpAddr>> = all.into_iter().map(|address| masked_address(address, mask)).collect();
                each.map_or(Fact::Unknown, Fact::Addresses)
            }
            fact @ (Fact::Strange | Fact::Absent | Fact::Content) => fact,
            Fact::Text(_) | Fact::Unknown => Fact::Unknown,
        }
    }

    /// What a rule asks by its place: the addresses of IPv4 and IPv6 (RFC 791 section 3.1, RFC 8200 section 3), and those of Ethernet.
    fn raw(&self, value: &Value) -> Fact {
        let of = |name| value.get(name).and_then(Value::as_u64);
        let (Some(base), Some(at), Some(bits)) = (value.get("base").and_then(Value::as_str), of("offset"), of("len"))
        else {
            return Fact::Unknown;
        };
        let fields: &[Field] = match (base, self.protocol) {
            ("nh", Some(Protocol::Ipv4)) => &[(96, 32, "ip", "saddr"), (128, 32, "ip", "daddr")],
            ("nh", Some(Protocol::Ipv6)) => &[(64, 128, "ip6", "saddr"), (192, 128, "ip6", "daddr")],
            // RFC 826, of Ethernet and IPv4.
            ("nh", Some(Protocol::Arp)) => &[
                (64, 48, "arp", "saddr ether"),
                (112, 32, "arp", "saddr ip"),
                (144, 48, "arp", "daddr ether"),
                (192, 32, "arp", "daddr ip"),
            ],
            ("ll", _) => &[(0, 48, "ether", "daddr"), (48, 48, "ether", "saddr")],
            _ => &[],
        };
        match fields.iter().find(|(begin, width, ..)| at == *begin && bits == *width) {
            Some((_, _, protocol, field)) => self.payload(protocol, field),
            None if is_content(base, self.protocol, at, bits) => Fact::Content,
            None => self.joined(fields, at, bits),
        }
    }

    /// Some bits of one field, or of several that lie behind each other.
    fn joined(&self, fields: &[Field], at: u64, bits: u64) -> Fact {
        let (mut all, mut content, mut from) = (vec![0_u64], false, at);
        let to = at.saturating_add(bits);
        if bits > WIDEST {
            return Fact::Unknown;
        }
        while from < to {
            let inside = fields.iter().find(|(begin, width, ..)| (*begin..begin + width).contains(&from));
            let Some((begin, width, protocol, field)) = inside else { return Fact::Unknown };
            let end = to.min(begin + width);
            match part_of(self.payload(protocol, field), begin + width - end, end - from) {
                Fact::Numbers(some) => {
                    let behind = |front: u64| {
                        some.iter().map(move |one| {
                            front.checked_shl(u32::try_from(end - from).unwrap_or(u32::MAX)).unwrap_or(0) | one
                        })
                    };
                    all = all.into_iter().flat_map(behind).take(VALUES).collect();
                }
                Fact::Content => content = true,
                other @ (Fact::Absent | Fact::Strange) => return other,
                Fact::Unknown | Fact::Text(_) | Fact::Addresses(_) | Fact::Mac(_) => return Fact::Unknown,
            }
            from = end;
        }
        if content { Fact::Content } else { Fact::Numbers(all) }
    }

    const fn missing(&self, open: bool) -> Fact {
        match (open, self.strange) {
            (true, _) => Fact::Content,
            (false, true) => Fact::Strange,
            (false, false) => Fact::Unknown,
        }
    }

    fn name(&self, name: &Option<String>, open: bool) -> Fact {
        name.clone().map_or_else(|| self.missing(open), Fact::Text)
    }

    fn mac(&self, mac: Option<Mac>, open: bool) -> Fact {
        mac.map_or_else(|| self.missing(open), Fact::Mac)
    }

    fn addresses(&self, addresses: &[IpAddr], ipv6: bool, open: bool) -> Fact {
        let of: Vec<IpAddr> = addresses.iter().copied().filter(|address| address.is_ipv6() == ipv6).collect();
        if of.is_empty() { self.missing(open && addresses.is_empty()) } else { Fact::Addresses(of) }
    }

    fn mark(&self) -> Fact {
        let any = if self.nobody { Fact::Content } else { Fact::Unknown };
        self.marks.values().map_or(any, Fact::Numbers)
    }

    fn meta(&self, key: &str) -> Fact {
        match (key, self.protocol) {
            ("iif" | "iifname", _) => self.name(&self.iif, false),
            ("oif" | "oifname", _) => self.name(&self.oif, self.open.1),
            ("ibrname" | "obrname", _) => self.name(&self.bridge, false),
            ("mark", _) => self.mark(),
            ("l4proto" | "pkttype" | "nfproto" | "protocol", None) => Fact::Content,
            ("protocol", Some(protocol)) => Fact::Text(ethertype(protocol).into()),
            ("nfproto", Some(Protocol::Ipv6)) => Fact::Text("ipv6".into()),
            ("nfproto", Some(Protocol::Ipv4)) => Fact::Text("ipv4".into()),
            ("l4proto", Some(Protocol::Arp)) => Fact::Absent,
            ("l4proto" | "pkttype", _) if self.any => Fact::Content,
            ("l4proto", _) => Fact::Text("udp".into()),
            ("pkttype", Some(Protocol::Arp)) => Fact::Text("broadcast".into()),
            ("pkttype", _) => Fact::Content,
            _ => Fact::Unknown,
        }
    }

    fn payload(&self, protocol: &str, field: &str) -> Fact {
        let (from, to) = self.open;
        match (protocol, field) {
            ("ether", "saddr") => return self.mac(self.from_mac, from),
            ("ether", "daddr") => return self.mac(self.to_mac, to),
            // Whom a question or an answer is about.
            ("icmpv6", "taddr" | "daddr") if self.protocol == Some(Protocol::Ipv6) => return Fact::Unknown,
            _ => {}
        }
        let Some(of) = self.protocol else { return Fact::Unknown };
        let is = match protocol {
            "ether" if field == "type" => return Fact::Text(ethertype(of).into()),
            "ip" => of == Protocol::Ipv4,
            "ip6" => of == Protocol::Ipv6,
            "arp" => of == Protocol::Arp,
            "udp" | "th" | "tcp" | "icmp" | "icmpv6" | "sctp" | "dccp" | "esp" | "ah" | "comp"
                if self.any && of != Protocol::Arp =>
            {
                return Fact::Content;
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
            ("ip" | "ip6", "saddr") | ("arp", "saddr ip") => self.addresses(&self.from, ipv6, from),
            ("ip" | "ip6", "daddr") | ("arp", "daddr ip") => self.addresses(&self.to, ipv6, to),
            ("arp", "saddr ether") => self.mac(self.from_mac, from),
            // A question has none there.
            ("arp", "daddr ether") => {
                self.to_mac.map_or_else(|| self.missing(to), |mac| Fact::Numbers(vec![0, number_of(mac)]))
            }
            ("ip", "protocol") | ("ip6", "nexthdr") if self.any => Fact::Content,
            ("arp", "operation" | "htype" | "ptype" | "hlen" | "plen") => Fact::Content,
            ("ip", "protocol") | ("ip6", "nexthdr") => Fact::Text("udp".into()),
            ("udp" | "th", "dport") => Fact::Numbers(vec![7]),
            _ => Fact::Unknown,
        }
    }
}

fn masked_address(address: IpAddr, mask: &Value) -> Option<IpAddr> {
    let text = || mask.as_str()?.parse::<IpAddr>().ok();
    match address {
        IpAddr::V4(four) => {
            let number = mask.as_u64().and_then(|mask| u32::try_from(mask).ok());
            let IpAddr::V4(mask) = number.map(|mask| IpAddr::V4(mask.into())).or_else(text)? else { return None };
            Some(IpAddr::V4(four & mask))
        }
        IpAddr::V6(six) => {
            let IpAddr::V6(mask) = text()? else { return None };
            Some(IpAddr::V6(six & mask))
        }
    }
}

/// An Ethernet address as a number.
fn number_of(mac: Mac) -> u64 {
    mac.0.iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// Some bits of a field, of which `behind` bits lie behind them.
fn part_of(field: Fact, behind: u64, bits: u64) -> Fact {
    let cut = |number: u128| {
        let mask = 1_u128.checked_shl(u32::try_from(bits).unwrap_or(u32::MAX)).map_or(u128::MAX, |one| one - 1);
        u64::try_from(number.checked_shr(u32::try_from(behind).unwrap_or(u32::MAX)).unwrap_or(0) & mask)
    };
    let numbers: Result<Vec<u64>, _> = match field {
        Fact::Addresses(all) => all
            .into_iter()
            .map(|address| match address {
                IpAddr::V4(four) => cut(u128::from(u32::from(four))),
                IpAddr::V6(six) => cut(u128::from(six)),
            })
            .collect(),
        Fact::Mac(mac) => [cut(u128::from(number_of(mac)))].into_iter().collect(),
        Fact::Numbers(all) => all.into_iter().map(|number| cut(u128::from(number))).collect(),
        other @ (Fact::Absent | Fact::Unknown | Fact::Content | Fact::Text(_) | Fact::Strange) => return other,
    };
    numbers.map_or(Fact::Unknown, Fact::Numbers)
}

/// True for a place where no header has who sends a frame or gets it: the EtherType, protocols, and ports behind a header without options.
fn is_content(base: &str, protocol: Option<Protocol>, at: u64, bits: u64) -> bool {
    let within = |begin: u64, end: u64| at >= begin && at.saturating_add(bits) <= end;
    match (base, protocol) {
        ("ll", _) => within(96, 112),
        ("th", _) => within(0, 32),
        ("nh", Some(Protocol::Ipv4)) => within(72, 80) || within(160, 192),
        ("nh", Some(Protocol::Ipv6)) => within(48, 56) || within(320, 352),
        ("nh", Some(Protocol::Arp)) => within(0, 64),
        _ => false,
    }
}

fn ethertype(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Arp => "arp",
        Protocol::Ipv4 => "ip",
        Protocol::Ipv6 => "ip6",
    }
}
