//! What a packet filter of others makes of a frame, as far as its rules can be read: `nft -j` says them (libnftables-json(5)). What is not known
//! here (sets by name, matches of iptables, limits) may match or not, and that is said.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::probe::crossing::Protocol;
use crate::types::{Mac, Prefix};

/// Chains in chains that are followed, at most (`NFT_JUMP_STACK_SIZE`, include/net/netfilter/nf_tables.h).
const DEPTH: u8 = 16;
/// Rules that are looked at for one frame.
const STEPS: usize = 50_000;
/// Rules of one chain at a hook that may drop a frame and are kept, at most.
const MAYBE: usize = 32;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The kernel's number of it.
    pub handle: u64,
    /// Its parts.
    pub parts: Vec<Value>,
}

/// All rules of a table, by chain.
pub type Rules = BTreeMap<String, Vec<Rule>>;

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

/// What drops a frame, and how sure that is; the surest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drop {
    /// How sure.
    pub sure: Sure,
    /// Chain and handle of the rule; none: the policy of the chain at the hook.
    pub rule: Option<(String, u64)>,
}

/// How sure a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sure {
    /// The frame is dropped.
    Yes,
    /// It is, unless something before lets it pass that cannot be read.
    Likely,
    /// It is, if something matches that cannot be read.
    Maybe,
}

/// What becomes of a frame in a chain at a hook. None: it passes.
pub fn judge(rules: &Rules, chain: &str, policy_drops: bool, frame: &Frame) -> Option<Drop> {
    all(rules, chain, policy_drops, frame).into_iter().min_by_key(|drop| drop.sure)
}

/// All that may drop a frame in a chain at a hook, in the order in which it is asked; what drops it surely, or most likely, is the last.
pub fn all(rules: &Rules, chain: &str, policy_drops: bool, frame: &Frame) -> Vec<Drop> {
    let mut walk = Walk { rules, frame, sure: Sure::Yes, maybe: Vec::new(), steps: 0 };
    let dropped = match walk.chain(chain, DEPTH) {
        End::Accepted => None,
        End::Dropped(rule) => Some(Drop { sure: walk.sure, rule: Some(rule) }),
        End::Through => policy_drops.then_some(Drop { sure: walk.sure, rule: None }),
    };
    let maybe = walk.maybe.into_iter().map(|rule| Drop { sure: Sure::Maybe, rule: Some(rule) });
    maybe.chain(dropped).collect()
}

/// How a chain ends.
enum End {
    Accepted,
    Dropped((String, u64)),
    Through,
}

/// Whether something matches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    Maybe,
}

/// One side of a comparison.
enum Fact {
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

/// What a part of a rule that only iptables and its like have comes to.
enum Old {
    Match(Match),
    Drops,
    Queues,
}

struct Walk<'a> {
    rules: &'a Rules,
    frame: &'a Frame,
    sure: Sure,
    maybe: Vec<(String, u64)>,
    steps: usize,
}

impl Walk<'_> {
    fn chain(&mut self, name: &str, depth: u8) -> End {
        for rule in self.rules.get(name).into_iter().flatten() {
            self.steps += 1;
            if self.steps > STEPS {
                self.sure = Sure::Likely;
                return End::Through;
            }
            if let Some(end) = self.rule(name, rule, depth) {
                return end;
            }
        }
        End::Through
    }

    /// None: the next rule is looked at.
    fn rule(&mut self, chain: &str, rule: &Rule, depth: u8) -> Option<End> {
        let mut matches = Match::Yes;
        for part in &rule.parts {
            let Some((word, value)) = part.as_object().and_then(|part| part.iter().next()) else {
                matches = Match::Maybe;
                continue;
            };
            let one = match word.as_str() {
                "match" => self.matches(value),
                "vmap" => match self.mapped(value) {
                    Some(verdict) => {
                        let (word, value) = verdict.iter().next()?;
                        let (word, value) = (word.as_str(), value);
                        return self.verdict((word, value), chain, rule, matches, depth);
                    }
                    // Something in it may be about the frame all the same.
                    None => {
                        if self.hidden(value) {
                            self.may(chain, rule.handle);
                        }
                        self.sure = Sure::Likely;
                        Match::No
                    }
                },
                "xt" => match old(value) {
                    Old::Match(one) => one,
                    Old::Drops => return self.verdict(("drop", value), chain, rule, matches, depth),
                    Old::Queues => return self.verdict(("queue", value), chain, rule, matches, depth),
                },
                // What it is for, or bears, is another from here on.
                "mangle" if self.turns(value) && matches != Match::No => {
                    self.may(chain, rule.handle);
                    Match::Yes
                }
                // What passes for some frames only.
                "limit" | "quota" | "connlimit" => Match::Maybe,
                "accept" | "drop" | "reject" | "jump" | "goto" | "return" | "continue" | "queue" | "fwd" => {
                    return self.verdict((word, value), chain, rule, matches, depth);
                }
                _ => Match::Yes,
            };
            match one {
                Match::No => return None,
                Match::Maybe => matches = Match::Maybe,
                Match::Yes => {}
            }
        }
        None
    }

    fn verdict(
        &mut self,
        (word, value): (&str, &Value),
        chain: &str,
        rule: &Rule,
        matches: Match,
        depth: u8,
    ) -> Option<End> {
        let here = || (chain.to_owned(), rule.handle);
        let end = match word {
            "drop" | "reject" | "fwd" => End::Dropped(here()),
            "accept" => End::Accepted,
            // Whoever takes it from the queue decides.
            "queue" => {
                self.may(chain, rule.handle);
                self.sure = Sure::Likely;
                return None;
            }
            "return" => End::Through,
            "jump" | "goto" => {
                let target = value.get("target").and_then(Value::as_str).unwrap_or_default();
                let end = if depth == 0 { End::Through } else { self.chain(target, depth - 1) };
                match end {
                    End::Through if word == "jump" => return None,
                    End::Accepted | End::Dropped(_) | End::Through => end,
                }
            }
            _ => return None,
        };
        if matches == Match::Yes {
            return Some(end);
        }
        match end {
            End::Dropped((chain, handle)) => self.may(&chain, handle),
            End::Accepted | End::Through => self.sure = Sure::Likely,
        }
        None
    }

    /// True for a statement that writes other addresses into the frame, or gives it a mark that this table asks for where it drops.
    fn turns(&self, value: &Value) -> bool {
        let Some(key) = value.get("key") else { return false };
        let marks = || key.get("meta").and_then(|meta| meta.get("key")).and_then(Value::as_str) == Some("mark");
        let whom = |at: &Value| {
            let field = at.get("field").and_then(Value::as_str);
            field.is_none_or(|field| field.starts_with("saddr") || field.starts_with("daddr"))
        };
        key.get("payload").is_some_and(whom) || (marks() && self.rules.values().flatten().any(drops_marked))
    }

    /// A rule may drop the frame.
    fn may(&mut self, chain: &str, handle: u64) {
        let rule = (chain.to_owned(), handle);
        if self.maybe.len() < MAYBE && !self.maybe.contains(&rule) {
            self.maybe.push(rule);
        }
    }

    /// True for a map of verdicts by who sends or gets a frame, of which nothing is read but its name, and that may be about this one.
    fn hidden(&self, value: &Value) -> bool {
        let of = |key| match self.fact(key) {
            Fact::Text(_) | Fact::Addresses(_) | Fact::Mac(_) => self.frame.strange,
            Fact::Absent | Fact::Unknown | Fact::Number(_) | Fact::Strange(_) => false,
        };
        let key = value.get("key");
        let parts = key.and_then(|key| key.get("concat")).and_then(Value::as_array);
        let named = value.get("data").is_some_and(Value::is_string);
        let about = parts.map_or_else(|| key.is_some_and(of), |parts| parts.iter().any(of));
        named && about && self.frame.unlisted
    }

    fn matches(&self, value: &Value) -> Match {
        let (Some(left), Some(right)) = (value.get("left"), value.get("right")) else { return Match::Maybe };
        let op = value.get("op").and_then(Value::as_str).unwrap_or("==");
        let equal = if let Some(parts) = left.get("concat").and_then(Value::as_array) {
            self.together(parts, right)
        } else {
            match self.fact(left) {
                Fact::Absent => return Match::No,
                Fact::Unknown => return Match::Maybe,
                fact @ (Fact::Text(_) | Fact::Number(_) | Fact::Addresses(_) | Fact::Mac(_) | Fact::Strange(_)) => {
                    is(&fact, right)
                }
            }
        };
        match (op, equal) {
            ("==" | "in", equal) => equal,
            ("!=", Match::Yes) => Match::No,
            ("!=", Match::No) => Match::Yes,
            _ => Match::Maybe,
        }
    }

    /// Several parts of a frame, compared together.
    fn together(&self, parts: &[Value], right: &Value) -> Match {
        let facts: Vec<Fact> = parts.iter().map(|part| self.fact(part)).collect();
        if facts.iter().any(|fact| matches!(fact, Fact::Absent)) {
            return Match::No;
        }
        if right.is_string() {
            let out = facts.iter().any(|fact| matches!(fact, Fact::Strange(true)));
            return if out { Match::No } else { Match::Maybe };
        }
        let all = right.get("set").and_then(Value::as_array);
        let elements = all.map_or_else(|| std::slice::from_ref(right), Vec::as_slice);
        let one = |element: &Value| {
            let Some(values) = element.get("concat").and_then(Value::as_array) else { return Match::Maybe };
            every(facts.iter().zip(values).map(|(fact, value)| is(fact, value)))
        };
        some(elements.iter().map(one))
    }

    /// The verdict of a map that is written in the rule. None: nothing is said of the frame.
    fn mapped<'v>(&self, value: &'v Value) -> Option<&'v serde_json::Map<String, Value>> {
        let fact = self.fact(value.get("key")?);
        let pairs = value.get("data")?.get("set")?.as_array()?;
        let pair = pairs
            .iter()
            .filter_map(Value::as_array)
            .find(|pair| pair.first().is_some_and(|key| is(&fact, key) == Match::Yes))?;
        pair.get(1)?.as_object()
    }

    fn fact(&self, left: &Value) -> Fact {
        let Some((word, value)) = left.as_object().and_then(|left| left.iter().next()) else { return Fact::Unknown };
        match word.as_str() {
            // Ports of bridges, as iptables sees them.
            "physdev" if value.as_str() == Some("in") => self.name(&self.frame.near),
            "physdev" => self.name(&self.frame.far),
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
        match (base, of("offset"), of("len"), self.frame.protocol) {
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
        if self.frame.strange { Fact::Strange(self.frame.unlisted) } else { Fact::Unknown }
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
        let Some(protocol) = self.frame.protocol else {
            return match key {
                "iif" | "iifname" => text(&self.frame.iif),
                "oif" | "oifname" => text(&self.frame.oif),
                "ibrname" | "obrname" => text(&self.frame.bridge),
                _ => Fact::Unknown,
            };
        };
        match key {
            "iif" | "iifname" => text(&self.frame.iif),
            "oif" | "oifname" => text(&self.frame.oif),
            "ibrname" | "obrname" => text(&self.frame.bridge),
            "protocol" => Fact::Text(ethertype(protocol).into()),
            "nfproto" if protocol == Protocol::Ipv6 => Fact::Text("ipv6".into()),
            "nfproto" if protocol == Protocol::Ipv4 => Fact::Text("ipv4".into()),
            "l4proto" if protocol == Protocol::Arp => Fact::Absent,
            "l4proto" | "mark" | "pkttype" if self.frame.any => Fact::Unknown,
            "l4proto" => Fact::Text("udp".into()),
            "mark" => Fact::Number(0),
            "pkttype" if protocol == Protocol::Arp => Fact::Text("broadcast".into()),
            _ => Fact::Unknown,
        }
    }

    fn payload(&self, protocol: &str, field: &str) -> Fact {
        let frame = self.frame;
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

/// True for a rule that asks for a mark and drops.
fn drops_marked(rule: &Rule) -> bool {
    let asks = |part: &Value| {
        let left = part.get("match").and_then(|asked| asked.get("left"));
        let left = left.map(|left| left.get("&").and_then(|of| of.get(0)).unwrap_or(left));
        left.and_then(|left| left.get("meta")?.get("key")?.as_str()) == Some("mark")
    };
    let drops = |part: &Value| ["drop", "reject", "queue", "jump", "goto"].iter().any(|word| part.get(word).is_some());
    rule.parts.iter().any(asks) && rule.parts.iter().any(drops)
}

fn ethertype(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Arp => "arp",
        Protocol::Ipv4 => "ip",
        Protocol::Ipv6 => "ip6",
    }
}

/// What parts of iptables come to that have no other form: what is known of them here has been put into words of `nft` before
/// ([`crate::linux`]).
fn old(value: &Value) -> Old {
    let of = |key| value.get(key).and_then(Value::as_str);
    match (of("type"), of("name")) {
        (Some("match"), Some("comment")) | (Some("watcher"), _) => Old::Match(Match::Yes),
        (Some("target"), Some("REJECT")) => Old::Drops,
        // Whoever gets it decides, or it goes elsewhere, or it is answered here.
        (Some("target"), Some("NFQUEUE" | "arpreply" | "redirect" | "dnat" | "TPROXY")) => Old::Queues,
        (Some("target"), _) => Old::Match(Match::Yes),
        _ => Old::Match(Match::Maybe),
    }
}

fn some(each: impl Iterator<Item = Match>) -> Match {
    each.fold(Match::No, |all, one| match (all, one) {
        (Match::Yes, _) | (_, Match::Yes) => Match::Yes,
        (Match::Maybe, _) | (_, Match::Maybe) => Match::Maybe,
        (Match::No, Match::No) => Match::No,
    })
}

fn every(each: impl Iterator<Item = Match>) -> Match {
    each.fold(Match::Yes, |all, one| match (all, one) {
        (Match::No, _) | (_, Match::No) => Match::No,
        (Match::Maybe, _) | (_, Match::Maybe) => Match::Maybe,
        (Match::Yes, Match::Yes) => Match::Yes,
    })
}

/// Whether a fact is what a rule writes.
fn is(fact: &Fact, right: &Value) -> Match {
    if let Some(all) = right.as_array().or_else(|| right.get("set").and_then(Value::as_array)) {
        return some(all.iter().map(|one| is(fact, one)));
    }
    if let Fact::Addresses(addresses) = fact {
        let each: Vec<Match> = addresses.iter().map(|address| told(address_is(*address, right))).collect();
        let all = each.iter().all(|one| *one == Match::Yes);
        let none = each.iter().all(|one| *one == Match::No);
        return if all {
            Match::Yes
        } else if none {
            Match::No
        } else {
            Match::Maybe
        };
    }
    let is = match (fact, right) {
        (Fact::Strange(true), Value::String(name)) if name.starts_with('@') => Some(false),
        (_, Value::String(name)) if name.starts_with('@') => None,
        (Fact::Strange(_), Value::Object(object)) if is_all(object) => Some(true),
        (Fact::Strange(_), _) => Some(false),
        (Fact::Mac(mac), Value::String(other)) => other.parse().ok().map(|other: Mac| other == *mac),
        (Fact::Mac(mac), Value::Object(object)) => begins(*mac, object),
        (Fact::Text(text), Value::String(name)) => match name.strip_suffix('*') {
            Some(head) => Some(text.starts_with(head)),
            None => Some(text == name),
        },
        // Protocols that `nft` has no name for are others.
        (Fact::Text(_), Value::Number(_)) => Some(false),
        (Fact::Number(number), Value::Number(other)) => other.as_u64().map(|other| *number == other),
        (Fact::Number(number), Value::Object(object)) => object.get("range").and_then(|range| {
            let ends = range.as_array()?;
            Some((ends.first()?.as_u64()?..=ends.get(1)?.as_u64()?).contains(number))
        }),
        _ => None,
    };
    told(is)
}

const fn told(is: Option<bool>) -> Match {
    match is {
        Some(true) => Match::Yes,
        Some(false) => Match::No,
        None => Match::Maybe,
    }
}

/// True for a prefix of no length.
fn is_all(object: &serde_json::Map<String, Value>) -> bool {
    object.get("prefix").and_then(|prefix| prefix.get("len")?.as_u64()) == Some(0)
}

/// Whether an Ethernet address begins as a rule writes.
fn begins(mac: Mac, object: &serde_json::Map<String, Value>) -> Option<bool> {
    let prefix = object.get("prefix")?;
    let number = |mac: Mac| mac.0.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    let other: Mac = prefix.get("addr")?.as_str()?.parse().ok()?;
    let rest = u32::try_from(48_u64.checked_sub(prefix.get("len")?.as_u64()?)?).ok()?;
    Some(number(mac) >> rest == number(other) >> rest)
}

fn address_is(address: IpAddr, right: &Value) -> Option<bool> {
    match right {
        Value::String(name) if name.starts_with('@') => None,
        Value::String(other) => other.parse().ok().map(|other: IpAddr| other == address),
        Value::Object(object) => within(address, object),
        Value::Number(number) => match address {
            IpAddr::V4(four) => number.as_u64().map(|number| number == u64::from(u32::from(four))),
            IpAddr::V6(_) => None,
        },
        Value::Null | Value::Bool(_) | Value::Array(_) => None,
    }
}

/// Whether an address is inside a prefix or a range.
fn within(address: IpAddr, object: &serde_json::Map<String, Value>) -> Option<bool> {
    let parse = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
    if let Some(prefix) = object.get("prefix") {
        let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
        return Some(Prefix::new(parse(prefix.get("addr")?)?, length)?.contains(address));
    }
    let ends = object.get("range")?.as_array()?;
    Some((parse(ends.first()?)?..=parse(ends.get(1)?)?).contains(&address))
}

#[cfg(test)]
#[path = "verdicts_tests.rs"]
mod tests;
