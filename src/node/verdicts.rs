//! What a packet filter of others makes of a frame, as far as its rules can be read: `nft -j` says them (libnftables-json(5)). What is not known
//! here (sets by name, matches of iptables, limits) may match or not, and that is said.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::probe::crossing::Protocol;
use crate::types::Prefix;

/// Chains in chains that are followed, at most (`NFT_JUMP_STACK_SIZE`, include/net/netfilter/nf_tables.h).
const DEPTH: u8 = 16;
/// Rules that are looked at for one frame.
const STEPS: usize = 50_000;

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
    /// Who sends it.
    pub from: Option<IpAddr>,
    /// Whom it is for.
    pub to: Option<IpAddr>,
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
    let mut walk = Walk { rules, frame, sure: Sure::Yes, maybe: None, steps: 0 };
    let dropped = match walk.chain(chain, DEPTH) {
        End::Accepted => None,
        End::Dropped(rule) => Some(Drop { sure: walk.sure, rule: Some(rule) }),
        End::Through => policy_drops.then_some(Drop { sure: walk.sure, rule: None }),
    };
    dropped.or_else(|| walk.maybe.map(|rule| Drop { sure: Sure::Maybe, rule: Some(rule) }))
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
    Address(IpAddr),
}

struct Walk<'a> {
    rules: &'a Rules,
    frame: &'a Frame,
    sure: Sure,
    maybe: Option<(String, u64)>,
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
                        self.sure = Sure::Likely;
                        Match::No
                    }
                },
                // Matches and targets of iptables, and what passes for some frames only.
                "xt" | "limit" | "quota" | "connlimit" => Match::Maybe,
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
                self.maybe.get_or_insert_with(here);
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
            End::Dropped(rule) => drop(self.maybe.get_or_insert(rule)),
            End::Accepted | End::Through => self.sure = Sure::Likely,
        }
        None
    }

    fn matches(&self, value: &Value) -> Match {
        let (Some(left), Some(right)) = (value.get("left"), value.get("right")) else { return Match::Maybe };
        let op = value.get("op").and_then(Value::as_str).unwrap_or("==");
        let fact = self.fact(left);
        let equal = match fact {
            Fact::Absent => return Match::No,
            Fact::Unknown => return Match::Maybe,
            Fact::Text(_) | Fact::Number(_) | Fact::Address(_) => is(&fact, right),
        };
        match (op, equal) {
            ("==" | "in", equal) => equal,
            ("!=", Match::Yes) => Match::No,
            ("!=", Match::No) => Match::Yes,
            _ => Match::Maybe,
        }
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
            "meta" => self.meta(value.get("key").or(Some(value)).and_then(Value::as_str).unwrap_or_default()),
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

    fn meta(&self, key: &str) -> Fact {
        let text = |text: &Option<String>| text.clone().map_or(Fact::Unknown, Fact::Text);
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
        let address = |address: Option<IpAddr>| address.map_or(Fact::Unknown, Fact::Address);
        match (protocol, field) {
            ("ip" | "ip6", "saddr") => address(frame.from),
            ("ip" | "ip6", "daddr") => address(frame.to),
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

/// Whether a fact is what a rule writes.
fn is(fact: &Fact, right: &Value) -> Match {
    if let Some(all) = right.as_array().or_else(|| right.get("set").and_then(Value::as_array)) {
        let each: Vec<Match> = all.iter().map(|one| is(fact, one)).collect();
        let some = |wanted| each.contains(&wanted);
        return if some(Match::Yes) {
            Match::Yes
        } else if some(Match::Maybe) {
            Match::Maybe
        } else {
            Match::No
        };
    }
    let told = match (fact, right) {
        (_, Value::String(name)) if name.starts_with('@') => None,
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
        (Fact::Address(address), Value::String(other)) => other.parse().ok().map(|other: IpAddr| other == *address),
        (Fact::Address(address), Value::Object(object)) => within(*address, object),
        _ => None,
    };
    match told {
        Some(true) => Match::Yes,
        Some(false) => Match::No,
        None => Match::Maybe,
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
