//! Whether this host tracks connections (net/netfilter/nf_conntrack_proto.c): from the first rule on that asks for it, not from the first
//! entry. Between the two guests could fill the host's table of connections.

use std::fs;
use std::io;
use std::time::Duration;

use netlink_packet_core::NLM_F_DUMP;

use super::attributes::{attribute, each, text};
use super::hooks::{self, ask_with};
use super::netfilter::{
    self, CHAIN_TYPE, EXPRESSION_DATA, EXPRESSION_NAME, EXPRESSIONS, HEADERS, MATCH_NAME, TABLE_NAME,
};
use super::netlink::HEADER;
use crate::clock::mono;
use crate::types::Mono;

/// `NFPROTO_INET`, `NFPROTO_IPV4`, `NFPROTO_IPV6`: whose rules make the kernel track packets of this host. Family `bridge` tracks frames.
const FAMILIES: [u8; 3] = [1, 2, 10];
/// Matches of iptables that ask for the entry of a connection (net/netfilter/xt_*.c with `nf_ct_netns_get`).
const MATCHES: [&str; 8] =
    ["conntrack", "state", "connmark", "connbytes", "connlabel", "connlimit", "helper", "cluster"];

/// `NFTA_RULE_CHAIN`.
const RULE_CHAIN: u16 = 2;
/// `NFTA_CT_KEY` and `NFTA_META_KEY`.
const KEY: u16 = 2;
/// `NFTA_CT_SREG`: the rule sets what it names.
const CT_FROM_REGISTER: u16 = 4;
/// `NFT_CT_ZONE`.
const CT_ZONE: u32 = 17;
/// `NFT_META_IIF`, `NFT_META_OIF`, `NFT_META_IIFNAME`, `NFT_META_OIFNAME`.
const INTERFACES: [u32; 4] = [4, 5, 6, 7];

/// How much longer rules are left alone than it took to read them: a host with very many of them that change all the time has other things
/// to do.
const REST: u32 = 9;
/// The same where it is known already that this host tracks: then no guest fills its table meanwhile.
const CALM: u32 = 99;
/// They are left alone for that long at least.
const LEAST: Duration = Duration::from_millis(10);

/// What rules ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Found {
    /// Some make the kernel track.
    asked: bool,
    /// The first chain with a rule that gives all packets a zone: `FAMILY TABLE CHAIN`.
    zone: Option<String>,
}

/// What was last known of the rules, and the generation of the packet filters in which they were read.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    read: Option<(u32, Found)>,
    /// Not before are they read again.
    next: Mono,
    /// They have changed since, or could not be read.
    behind: bool,
    /// The zone is another one since that was last asked.
    news: bool,
}

impl Tracking {
    /// True where this network namespace has an entry of a tracked connection, or a rule or chain for which the kernel makes some. Rules
    /// are read once a change of packet filters, and a tenth of the time at most, where it tracks a hundredth. False where the kernel cannot track.
    pub(super) fn tracks(&mut self) -> bool {
        let asked = self.look();
        entries() || asked
    }

    /// The chain with a rule that gives packets a zone of connection tracking, whatever interface they come and go by, as of the last look. It puts a
    /// template in the place of "not tracked" (`nft_ct_set_zone_eval`, net/netfilter/nft_ct.c), so no `notrack` holds against it.
    pub(super) fn zone(&self) -> Option<String> {
        self.read.as_ref().and_then(|(_, found)| found.zone.clone())
    }

    /// True once after [`Self::zone`] has become another one.
    pub(super) fn news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// When rules are to be read that have changed since; none: those that are known are in force.
    pub(super) fn again(&self) -> Option<Mono> {
        self.behind.then_some(self.next)
    }

    /// Reads the rules where that is due; true where they ask for tracking.
    fn look(&mut self) -> bool {
        // A kernel without packet filters has no rules.
        let Ok(generation) = hooks::generation() else { return false };
        let begun = mono();
        self.behind = self.read.as_ref().is_none_or(|(read, _)| *read != generation);
        if self.behind && begun >= self.next {
            if let Ok(found) = found() {
                self.news |= self.zone() != found.zone;
                (self.read, self.behind) = (Some((generation, found)), false);
            }
            let ended = mono();
            let known = self.read.as_ref().is_some_and(|(_, found)| found.asked) || entries();
            let rest = if known { CALM } else { REST };
            self.next = ended + ended.since(begun).saturating_mul(rest).max(LEAST);
        }
        self.read.as_ref().is_some_and(|(_, found)| found.asked)
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

/// What the rules ask for, all of them.
fn found() -> io::Result<Found> {
    let mut found = Found { asked: translates()?, zone: None };
    any(netfilter::GET_RULE, |rule| {
        let parts = attribute(rule, EXPRESSIONS).into_iter().flat_map(|all| each(all).map(|(_, part)| part));
        let parts: Vec<&[u8]> = parts.collect();
        found.asked |= parts.iter().any(|part| looks(part));
        if found.zone.is_none() && gives_zone(&parts) {
            let name = |kind| attribute(rule, kind).map(text).unwrap_or_default();
            found.zone = Some(format!("{} {}", name(TABLE_NAME), name(RULE_CHAIN)));
        }
        false
    })?;
    Ok(found)
}

/// True for a rule that gives packets a zone and asks for no interface.
fn gives_zone(parts: &[&[u8]]) -> bool {
    let named = |part: &[u8], name: &str| attribute(part, EXPRESSION_NAME).map(text).as_deref() == Some(name);
    let number = |part: &[u8], kind: u16| {
        let value = attribute(part, EXPRESSION_DATA).and_then(|data| attribute(data, kind)?.first_chunk::<4>());
        value.map(|bytes| u32::from_be_bytes(*bytes))
    };
    let zone = |part: &&&[u8]| {
        named(part, "ct") && number(part, KEY) == Some(CT_ZONE) && number(part, CT_FROM_REGISTER).is_some()
    };
    let interface =
        |part: &&&[u8]| named(part, "meta") && number(part, KEY).is_some_and(|key| INTERFACES.contains(&key));
    parts.iter().any(|part| zone(&part)) && !parts.iter().any(|part| interface(&part))
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
fn any(kind: u16, mut is: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
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

    #[test]
    fn a_rule_that_gives_packets_a_zone_whatever_their_interface_is_known() {
        let part = |name: &[u8], values: &[(u16, u32)]| {
            let values: Vec<(u16, [u8; 4])> = values.iter().map(|(kind, value)| (*kind, value.to_be_bytes())).collect();
            let values: Vec<(u16, &[u8])> = values.iter().map(|(kind, value)| (*kind, &value[..])).collect();
            packed(&[(EXPRESSION_NAME, name), (EXPRESSION_DATA, &packed(&values))])
        };
        let (zone, asks) = (part(b"ct\0", &[(KEY, 17), (4, 1)]), part(b"ct\0", &[(1, 1), (KEY, 17)]));
        let (mark, by) = (part(b"ct\0", &[(KEY, 3), (4, 1)]), part(b"meta\0", &[(KEY, 6), (1, 1)]));
        let other = part(b"meta\0", &[(KEY, 16), (1, 1)]);
        assert!(gives_zone(&[&zone]) && gives_zone(&[&other, &zone]));
        for rule in [&[&asks][..], &[&mark], &[&by, &zone], &[]] {
            assert!(!gives_zone(&rule.iter().map(|part| part.as_slice()).collect::<Vec<_>>()));
        }
    }
}
