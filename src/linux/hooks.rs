//! Chains of all packet filters at the hooks of the kernel, whoever has made them, asked of the kernel itself: a host may have thousands of
//! chains, and `nft` of Debian 12 does not say at which interfaces those of family `netdev` are.

use std::collections::BTreeSet;
use std::io;

use netlink_packet_core::NLM_F_DUMP;

use super::attributes::{attribute, each, text};
use super::error::KernelError;
use super::kernel::Kernel;
use super::netfilter::{self, BUFFER, HEADERS, TABLE_NAME};
use super::netlink::{HEADER, Messages, half, word};
use super::nft;
use crate::node::barriers::{Base, Table};
use crate::node::older::Older;
use crate::node::shown::Legacy;
use crate::node::verdicts::Rules;
use crate::probe::crossing::Protocol;

/// `NFTA_GEN_ID`.
const GENERATION: u16 = 1;
/// `NFTA_CHAIN_*`.
const NAME: u16 = 3;
const HOOK: u16 = 4;
const POLICY: u16 = 5;
/// `NFTA_HOOK_*`.
const NUMBER: u16 = 1;
const DEVICE: u16 = 3;
const DEVICES: u16 = 4;
/// Chains at hooks that are kept, at most.
const MOST: usize = 1024;

/// Tables of the older iptables that are in the kernel are listed there, and the tool that shows them (net/netfilter/x_tables.c).
const LEGACY: [(&str, &str); 3] = [
    ("/proc/net/ip_tables_names", "iptables-legacy"),
    ("/proc/net/ip6_tables_names", "ip6tables-legacy"),
    ("/proc/net/arp_tables_names", "arptables-legacy"),
];

impl Kernel {
    /// A number that is another one after each change of any packet filter. What packets do to sets does not count.
    ///
    /// # Errors
    /// The kernel has no nf_tables, or does not let us.
    pub fn filter_generation(&self) -> Result<u32, KernelError> {
        generation().map_err(KernelError::socket("reading the packet filters' generation"))
    }

    /// Chains of all packet filters at hooks.
    ///
    /// # Errors
    /// As [`Self::filter_generation`].
    pub fn hooks(&self) -> Result<Vec<Base>, KernelError> {
        read().map_err(KernelError::socket("reading chains of packet filters"))
    }

    /// Rules of a table, by chain. None where there is no such table any more.
    ///
    /// # Errors
    /// [`KernelError::NoNft`].
    pub fn rules(&self, table: &Table) -> Result<Rules, KernelError> {
        nft::rules(table)
    }

    /// Tools of the older iptables that have something in this kernel.
    pub fn legacy_filters(&self) -> Vec<&'static str> {
        legacy(|tables| !tables.is_empty())
    }

    /// What all bridges of this host show to its packet filters.
    pub fn bridges_show(&self) -> BTreeSet<Protocol> {
        let on = |path: &str| std::fs::read_to_string(path).is_ok_and(|text| !matches!(text.trim(), "" | "0"));
        SHOWS.into_iter().filter(|(path, _)| on(path)).map(|(_, protocol)| protocol).collect()
    }

    /// All tables of the older iptables that this kernel has, as far as its tools are here.
    pub fn older_tables(&self) -> Vec<Older> {
        let tables = |(path, tool): (&str, &'static str)| {
            let names = std::fs::read_to_string(path).unwrap_or_default();
            names.split_whitespace().map(|table| (tool, table.to_owned())).collect::<Vec<_>>()
        };
        let all = LEGACY.into_iter().filter(|(_, tool)| tool.starts_with("ip")).flat_map(tables);
        all.filter_map(|(tool, table)| {
            let text = nft::listing(tool, &[&WAITS[..], &["-t", &table, "-S"]].concat()).ok()?;
            Some(Older::read(tool, &table, &text))
        })
        .collect()
    }

    /// What the tools of the older iptables say of the chain FORWARD, where the kernel has it. One that is not here, or fails, says nothing.
    pub fn legacy_forward(&self) -> Legacy {
        // Where the table is not there, asking for it would make it.
        let tools = legacy(|tables| tables.contains(&"filter"));
        tools
            .into_iter()
            .filter(|tool| tool.starts_with("ip"))
            .filter_map(|tool| Some((tool, nft::listing(tool, &[&WAITS[..], &["-S", "FORWARD"]].concat()).ok()?)))
            .collect()
    }
}

/// The older iptables has one lock for all that run, in all network namespaces, for questions too: who finds it taken says nothing, unless it waits.
/// Seconds.
const WAITS: [&str; 2] = ["-w", "3"];

/// Switches of `br_netfilter` for all bridges, and what is shown by each.
const SHOWS: [(&str, Protocol); 3] = [
    ("/proc/sys/net/bridge/bridge-nf-call-iptables", Protocol::Ipv4),
    ("/proc/sys/net/bridge/bridge-nf-call-ip6tables", Protocol::Ipv6),
    ("/proc/sys/net/bridge/bridge-nf-call-arptables", Protocol::Arp),
];

/// Tools of the older iptables whose tables in the kernel are as asked.
pub(super) fn legacy(are: impl Fn(&[&str]) -> bool) -> Vec<&'static str> {
    let has = |path: &str| {
        std::fs::read_to_string(path).is_ok_and(|names| are(&names.split_whitespace().collect::<Vec<_>>()))
    };
    LEGACY.into_iter().filter(|(path, _)| has(path)).map(|(_, tool)| tool).collect()
}

pub(super) fn generation() -> io::Result<u32> {
    let mut generation = None;
    ask(netfilter::GET_GENERATION, 0, |message| {
        if half(message, 4) == Some(netfilter::NEW_GENERATION) {
            generation = attribute(message.get(HEADERS..)?, GENERATION).and_then(number);
        }
        generation.map(|_| true)
    })?;
    generation.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// All chains at hooks of the calling thread's namespace.
fn read() -> io::Result<Vec<Base>> {
    let mut bases = Vec::new();
    ask(netfilter::GET_CHAIN, NLM_F_DUMP, |message| {
        bases.extend(base(message).filter(|_| bases.len() < MOST));
        Some(false)
    })?;
    Ok(bases)
}

/// Asks, and hands each message of the answer on, until one says that it was enough or the last has come.
fn ask(kind: u16, flags: u16, each: impl FnMut(&[u8]) -> Option<bool>) -> io::Result<()> {
    ask_with(kind, flags, 0, &[], each)
}

/// The same of one family, with attributes.
pub(super) fn ask_with(
    kind: u16,
    flags: u16,
    family: u8,
    attributes: &[(u16, &[u8])],
    mut each: impl FnMut(&[u8]) -> Option<bool>,
) -> io::Result<()> {
    let socket = netfilter::connect()?;
    socket.send(&netfilter::question(kind, flags, family, attributes), 0)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = socket.recv(&mut &mut buffer[..], 0)?;
        let answer = buffer.get(..length).ok_or(io::ErrorKind::InvalidData)?;
        for message in Messages(answer) {
            let message = message?;
            match half(message, 4).map(i32::from) {
                Some(libc::NLMSG_DONE) => return Ok(()),
                Some(libc::NLMSG_ERROR) => {
                    let code = word(message, HEADER).map(u32::cast_signed);
                    return Err(io::Error::from_raw_os_error(code.map_or(libc::EPROTO, i32::saturating_abs)));
                }
                _ => {
                    if each(message) == Some(true) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// A chain, if it is at a hook that frames come by.
fn base(message: &[u8]) -> Option<Base> {
    let attributes = message.get(HEADERS..)?;
    let hook = attribute(attributes, HOOK)?;
    let number_of_hook = attribute(hook, NUMBER).and_then(number)?;
    let (family, hook_name) = names(*message.get(HEADER)?, number_of_hook)?;
    // Frames of our bridges are not tracked, and so never come by address translation.
    if attribute(attributes, netfilter::CHAIN_TYPE).map(text).as_deref() == Some("nat") {
        return None;
    }
    let one = attribute(hook, DEVICE).into_iter();
    let many = attribute(hook, DEVICES).into_iter().flat_map(|devices| each(devices).map(|(_, name)| name));
    Some(Base {
        family,
        table: text(attribute(attributes, TABLE_NAME)?),
        name: text(attribute(attributes, NAME)?),
        hook: hook_name,
        // `NF_DROP` is 0.
        drops: attribute(attributes, POLICY).and_then(number) == Some(0),
        devices: one.chain(many).map(text).collect(),
    })
}

/// `NFPROTO_*` and `NF_*_*` hooks (linux/netfilter.h, linux/netfilter_bridge.h) as `nft` writes them.
fn names(family: u8, hook: u32) -> Option<(&'static str, &'static str)> {
    let family = match family {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => return None,
    };
    let hook = match (family, hook) {
        ("netdev", 0) => "ingress",
        ("netdev", 1) => "egress",
        ("arp", 0) => "input",
        ("arp", 1) => "output",
        ("arp", 2) => "forward",
        // Before the bridge, at interfaces that it names, as in family `netdev`.
        ("inet", 5) => "ingress",
        ("netdev" | "arp", _) => return None,
        (_, 0) => "prerouting",
        (_, 1) => "input",
        (_, 2) => "forward",
        (_, 3) => "output",
        (_, 4) => "postrouting",
        _ => return None,
    };
    Some((family, hook))
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}
