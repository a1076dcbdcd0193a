//! Whether this host tracks connections (net/netfilter/nf_conntrack_proto.c): from the first rule on that asks for it, not from the first
//! entry. Between the two guests could fill the host's table of connections.

use std::fs;
use std::io;
use std::time::Duration;

use netlink_packet_core::NLM_F_DUMP;

use super::attributes::{attribute, each, text};
use super::hooks::{self, ask_with};
use super::netfilter::{self, CHAIN_TYPE, EXPRESSION_DATA, EXPRESSION_NAME, EXPRESSIONS, HEADERS, MATCH_NAME};
use super::netlink::HEADER;
use crate::clock::mono;
use crate::types::Mono;

/// `NFPROTO_INET`, `NFPROTO_IPV4`, `NFPROTO_IPV6`: whose rules make the kernel track packets of this host. Family `bridge` tracks frames.
const FAMILIES: [u8; 3] = [1, 2, 10];
/// Matches of iptables that ask for the entry of a connection (net/netfilter/xt_*.c with `nf_ct_netns_get`).
const MATCHES: [&str; 8] =
    ["conntrack", "state", "connmark", "connbytes", "connlabel", "connlimit", "helper", "cluster"];

/// How much longer rules are left alone than it took to read them: a host with very many of them that change all the time has other things
/// to do.
const REST: u32 = 9;
/// They are left alone for that long at least.
const LEAST: Duration = Duration::from_millis(10);

/// What was last known of the rules, and the generation of the packet filters in which they were read.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    read: Option<(u32, bool)>,
    /// Not before are they read again.
    next: Mono,
    /// They have changed since, or could not be read.
    behind: bool,
}

impl Tracking {
    /// True where this network namespace has an entry of a tracked connection, or a rule or chain for which the kernel makes some. Rules
    /// are read once a change of packet filters, and a tenth of the time at most. False where the kernel cannot track.
    pub(super) fn tracks(&mut self) -> bool {
        entries() || self.asked_for()
    }

    /// When rules are to be read that have changed since; none: those that are known are in force.
    pub(super) fn again(&self) -> Option<Mono> {
        self.behind.then_some(self.next)
    }

    fn asked_for(&mut self) -> bool {
        // A kernel without packet filters has no rules.
        let Ok(generation) = hooks::generation() else { return false };
        let begun = mono();
        self.behind = self.read.is_none_or(|(read, _)| read != generation);
        if self.behind && begun >= self.next {
            if let Ok(asked) = translates().and_then(|nat| Ok(nat || matches()?)) {
                (self.read, self.behind) = (Some((generation, asked)), false);
            }
            let ended = mono();
            self.next = ended + ended.since(begun).saturating_mul(REST).max(LEAST);
        }
        self.read.is_some_and(|(_, asked)| asked)
    }
}

fn entries() -> bool {
    let count = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
    count.is_ok_and(|count| count.trim() != "0")
}

/// There is a chain of address translation, of nftables or of the older iptables.
fn translates() -> io::Result<bool> {
    if !hooks::legacy(|tables| tables.contains(&"nat")).is_empty() {
        return Ok(true);
    }
    any(netfilter::GET_CHAIN, |chain| attribute(chain, CHAIN_TYPE).map(text).as_deref() == Some("nat"))
}

/// There is a rule that looks at connections.
fn matches() -> io::Result<bool> {
    any(netfilter::GET_RULE, |rule| {
        let parts = attribute(rule, EXPRESSIONS).into_iter().flat_map(|all| each(all).map(|(_, part)| part));
        parts.into_iter().any(looks)
    })
}

/// An expression of a rule for which the kernel tracks.
fn looks(expression: &[u8]) -> bool {
    match attribute(expression, EXPRESSION_NAME).map(text).as_deref() {
        Some("ct" | "connlimit" | "synproxy" | "flow_offload") => true,
        Some("match") => {
            let name = attribute(expression, EXPRESSION_DATA).and_then(|data| attribute(data, MATCH_NAME)).map(text);
            name.is_some_and(|name| MATCHES.contains(&name.as_str()))
        }
        _ => false,
    }
}

/// One of all chains or rules of these families is as asked.
fn any(kind: u16, is: impl Fn(&[u8]) -> bool) -> io::Result<bool> {
    let mut found = false;
    ask_with(kind, NLM_F_DUMP, 0, &[], |message| {
        let family = message.get(HEADER)?;
        found |= FAMILIES.contains(family) && is(message.get(HEADERS..)?);
        Some(found)
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attributes as the kernel packs them.
    fn packed(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        netfilter::question(0, 0, 0, attributes).split_off(HEADERS)
    }

    #[test]
    fn rules_that_look_at_connections_are_told_from_others() {
        let part = |name: &[u8]| packed(&[(EXPRESSION_NAME, name)]);
        let of_iptables =
            |name: &[u8]| packed(&[(EXPRESSION_NAME, b"match\0"), (EXPRESSION_DATA, &packed(&[(MATCH_NAME, name)]))]);
        assert!(looks(&part(b"ct\0")) && looks(&part(b"flow_offload\0")));
        assert!(looks(&of_iptables(b"conntrack\0")) && looks(&of_iptables(b"state\0")));
        assert!(!looks(&part(b"notrack\0")) && !looks(&part(b"payload\0")) && !looks(&of_iptables(b"mark\0")));
    }
}
