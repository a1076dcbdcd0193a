//! Sizes at the hook between bridge ports. TCP of the plain path announces no more than its network has (`clamp_mss`, as lanes do in tunnels,
//! [`crate::forward`]), and what is larger than the device that it is for is counted: a bridge drops that without a word and without a
//! counter of its own (`br_dev_queue_push_xmit`, net/bridge/br_forward.c), and a vxlan device too (`skb_tunnel_check_pmtu`, net/ipv4/ip_tunnel_core.c).
//!
//! What is to be cut into several (GSO) passes, whatever it is for: of TCP nothing is counted, and other frames bear a sign, [`TO_BE_CUT`]. What
//! our own TAP and vxlan device bring bears none: of that, nothing is counted that is longer than what another node can send.
//!
//! TCP that is no SYN pays for one comparison, and so does what is not TCP; no hook has a chain more for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::desired::{Net, Observed};
use super::reconcile::is_ours;
use crate::policy::mtu::{IPV4, IPV6, IPV6_LEAST};
use crate::types::IfName;

/// What is dropped for its size, as a reason beside [`super::fence_text::REASONS`]: the device is the one that it was for.
pub const LARGE: (&str, &str) = ("large", "larger than the device that it was for, which the kernel drops");
/// Priority (`skb->priority`) of what a guest has given to be cut, from where it comes in until its length is compared, which takes it
/// away. No class of traffic has that number, and its last four bits are those of ordinary traffic.
pub const TO_BE_CUT: u32 = 0xfffe_7650;
/// TCP header without options.
const TCP: u16 = 20;
/// The MSS is the first option, where all hosts put it (RFC 9293 section 3.1). The kernel puts the checksum right only where the value stands at an
/// even place (`nft_exthdr_tcp_set_eval`, net/netfilter/nft_exthdr.c), so a SYN that has it elsewhere stays as it is.
const FIRST: &str = "@th,160,16 0x0204";
/// Version and high byte of the total length, of what is no IPv4 packet below 1024 bytes. The kernel asks one masked word of a header without a call
/// (`nft_payload_fast_eval`, net/netfilter/nf_tables_core.c), the length of a frame with three: 3 % of small frames.
/// A packet that says less than it is long is dropped all the same, and not counted.
const LONG: &str = "@nh,0,32 & 0xf000fc00 != 0x40000000";
/// The rule for TCP: a SYN by its byte of flags.
pub(super) const SYN: &str = "@th,104,8 & 0x06 == 0x02 jump syn";
/// What a bridge lets pass beyond an MTU, for a tag that is in the frame (`is_skb_forwardable`, net/core/dev.c).
const TAG: u32 = 4;

/// Which devices bound what passes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sizes {
    /// vxlan devices, with the largest packet that TCP through them shall have, bytes.
    clamp: BTreeMap<IfName, u16>,
    /// Bridge ports, with what they take.
    fits: BTreeMap<IfName, Fits>,
}

/// What a bridge port takes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fits {
    /// The largest packet, bytes.
    most: u32,
    /// What other nodes send comes in by these devices of ours, and is no longer than so many bytes.
    ours: Option<(Vec<IfName>, u32)>,
}

impl Fits {
    fn chain(&self) -> String {
        let ours = self.ours.iter().map(|(names, longest)| format!("_{longest}_{}", joined(names, "_")));
        format!("fits_{}{}", self.most, ours.collect::<String>())
    }

    fn rules(&self) -> String {
        let ours = self.ours.iter().map(|(names, longest)| {
            format!("        iifname {{ \"{}\" }} meta length > {longest} return\n", joined(names, "\", \""))
        });
        format!("{}        meta length > {} goto over\n", ours.collect::<String>(), self.most)
    }
}

fn joined(names: &[IfName], between: &str) -> String {
    names.iter().map(IfName::as_str).collect::<Vec<_>>().join(between)
}

/// Rules of a chain that is gone to by a verdict, by its name.
fn chains(sizes: &Sizes) -> BTreeMap<String, String> {
    let clamp = |most: &u16| {
        let mss = |family: &str, header: u16| {
            let most = most.saturating_sub(header + TCP);
            format!("        meta protocol {family} {FIRST} tcp option maxseg size set {most}\n")
        };
        (clamped(*most), mss("ip", IPV4) + &mss("ip6", IPV6))
    };
    let fits = |fits: &Fits| (fits.chain(), fits.rules());
    sizes.clamp.values().map(clamp).chain(sizes.fits.values().map(fits)).collect()
}

fn clamped(most: u16) -> String {
    format!("clamp_{most}")
}

impl Sizes {
    /// Adds a network: TCP over its plain path is held to its number where `clamp` says so.
    pub(super) fn add(&mut self, bridge: &IfName, net: &Net, clamp: bool) {
        let mtu = |name: &IfName| net.links.get(name).map(|link| link.mtu);
        let Some((name, carries)) = net.vxlan.as_ref().and_then(|name| Some((name, mtu(name)?))) else { return };
        self.fits.insert(name.clone(), Fits { most: carries, ours: None });
        let number = mtu(bridge).unwrap_or(carries).min(carries);
        if let Some(number) = u16::try_from(number).ok().filter(|_| clamp) {
            self.clamp.insert(name.clone(), number);
        }
    }

    /// These with the guests' interfaces in our bridges that are smaller than their network: most are not, and need no change when they come.
    pub(super) fn found(&mut self, networks: &BTreeMap<&IfName, &Net>, observed: &Observed) {
        for (name, link) in &observed.links {
            let Some(port) = link.port.as_ref().filter(|_| !is_ours(name, link) && super::fence::is_plain(name)) else {
                continue;
            };
            let Some(net) = networks.get(&port.bridge) else { continue };
            let mtu = |name: &IfName| net.links.get(name).map(|link| link.mtu);
            let Some(number) = mtu(&port.bridge).filter(|number| link.mtu < *number) else { continue };
            let ours = [&net.tap].into_iter().chain(&net.vxlan).cloned().collect();
            let longest = net.vxlan.as_ref().and_then(mtu).unwrap_or(number).max(number) + TAG;
            self.fits.insert(name.clone(), Fits { most: link.mtu + TAG, ours: Some((ours, longest)) });
        }
    }

    /// Elements of the two maps.
    pub(super) fn elements(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let clamp = self.clamp.iter().map(|(name, most)| ("clamps", format!("\"{name}\" : goto {}", clamped(*most))));
        clamp.chain(self.fits.iter().map(|(name, fits)| ("fits", format!("\"{name}\" : goto {}", fits.chain()))))
    }

    /// Chains that `old` has not, inside of the table of family `bridge`.
    pub(super) fn write_new(&self, out: &mut String, old: &Self) {
        let had = chains(old);
        for (name, rules) in chains(self).iter().filter(|(name, _)| !had.contains_key(*name)) {
            let _ = writeln!(out, "    chain {name} {{\n{rules}    }}");
        }
    }

    /// True where `old` has not all chains.
    pub(super) fn has_new(&self, old: &Self) -> bool {
        let had = chains(old);
        chains(self).keys().any(|name| !had.contains_key(name))
    }

    /// Removes the chains that are no longer needed, once nothing leads there any more.
    pub(super) fn write_removal(&self, out: &mut String, table: &str, old: &Self) {
        let has: BTreeSet<String> = chains(self).into_keys().collect();
        for name in chains(old).into_keys().filter(|name| !has.contains(name)) {
            let _ = writeln!(out, "delete chain {table} {name}");
        }
    }
}

/// Counter, sets and the chains that lead on. Only what is not TCP comes to `long`: the bulk of TCP comes in super-frames, which are cut
/// before they are sent.
pub(super) fn write_common(out: &mut String, forgetful: &str) {
    let (large, _) = LARGE;
    let [to, cut] = [TO_BE_CUT >> 16, TO_BE_CUT & 0xffff];
    let _ = writeln!(
        out,
        "    counter guest_{large} {{ }}
    set by_{large} {{ typeof oifname; {forgetful} }}
    map clamps {{ type ifname : verdict; }}
    map fits {{ type ifname : verdict; }}
    chain syn {{
        iifname vmap @clamps
        oifname vmap @clamps
    }}
    chain over {{
        counter name guest_{large} update @by_{large} {{ oifname counter }}
    }}
    chain sized {{
        meta priority {to:x}:{cut:x} meta priority set none return
        oifname vmap @fits
    }}
    chain long {{
        meta length > {IPV6_LEAST} jump sized
    }}"
    );
}

/// The rule for what is not TCP: what might be too large.
pub(super) fn long() -> String {
    format!("{LONG} jump long")
}
