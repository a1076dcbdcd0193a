//! Named counters of the packet filter, asked of the kernel itself: they are read every other second, and a process each time
//! would cost an idle node more than everything else that it does.

use std::collections::BTreeMap;
use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NlasIterator};

use super::netfilter::{self, BUFFER, HEADERS, NEW_OBJECT, TABLE_NAME};
use super::netlink::{HEADER, half, word};

/// `NFTA_OBJ_*`.
const NAME: u16 = 2;
const TYPE: u16 = 3;
const DATA: u16 = 4;
/// `NFT_OBJECT_COUNTER`.
const COUNTER: u32 = 1;
/// `NFTA_COUNTER_PACKETS`.
const PACKETS: u16 = 2;
/// How often a dump is repeated during which the filter was loaded anew.
const TRIES: usize = 5;

/// Families of tables (`NFPROTO_*`, linux/netfilter.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Family {
    Inet = 1,
    Netdev = 5,
    Bridge = 7,
}

/// What one datagram of the answer said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    counters: Vec<(String, u64)>,
    done: bool,
    interrupted: bool,
    /// Positive `errno`.
    refused: Option<i32>,
}

/// Packets that each named counter of a table of the calling thread's namespace has seen; empty where there is no such table.
///
/// # Errors
/// The kernel has no nf_tables, does not let us, or the filter changes faster than it can be read.
pub(super) fn read(family: Family, table: &str) -> io::Result<BTreeMap<String, u64>> {
    let socket = netfilter::connect()?;
    let mut buffer = vec![0; BUFFER];
    for _ in 0..TRIES {
        socket.send(&request(family, table), 0)?;
        let (mut counters, mut interrupted) = (BTreeMap::new(), false);
        loop {
            let length = socket.recv(&mut &mut buffer[..], 0)?;
            let answer = parse(buffer.get(..length).unwrap_or_default());
            if let Some(errno) = answer.refused {
                return Err(io::Error::from_raw_os_error(errno));
            }
            counters.extend(answer.counters);
            interrupted |= answer.interrupted;
            if answer.done {
                break;
            }
        }
        if !interrupted {
            return Ok(counters);
        }
    }
    Err(io::Error::other("the packet filter changes faster than it can be read"))
}

/// A dump of all counters of a table.
fn request(family: Family, table: &str) -> Vec<u8> {
    let name = [table.as_bytes(), &[0]].concat();
    let attributes = [(TABLE_NAME, &name[..]), (TYPE, &COUNTER.to_be_bytes()[..])];
    netfilter::question(netfilter::GET_OBJECT, NLM_F_DUMP, family as u8, &attributes)
}

/// Reads a datagram. One that is cut counts as interrupted, and one that holds nothing ends the dump, so that nobody waits for a
/// kernel that has said its last word.
fn parse(mut rest: &[u8]) -> Answer {
    let mut answer = Answer::default();
    let mut some = false;
    while let (Some(length), Some(kind), Some(flags)) = (word(rest, 0), half(rest, 4), half(rest, 6)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < HEADER || length > rest.len() {
            break;
        }
        answer.interrupted |= flags & NLM_F_DUMP_INTR != 0;
        match i32::from(kind) {
            libc::NLMSG_DONE => answer.done = true,
            libc::NLMSG_ERROR => {
                answer.done = true;
                let errno = word(rest, HEADER).map_or(libc::EPROTO, |code| code.cast_signed().saturating_abs());
                answer.refused = (errno != 0).then_some(errno);
            }
            _ if kind == NEW_OBJECT => {
                some = true;
                answer.counters.extend(counter(rest.get(HEADERS..length).unwrap_or_default()));
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let cut = !rest.is_empty();
    answer.interrupted |= cut;
    answer.done |= cut || !some;
    answer
}

/// Name and packets of one counter.
fn counter(attributes: &[u8]) -> Option<(String, u64)> {
    let (mut name, mut packets) = (None, None);
    for attribute in NlasIterator::new(attributes).flatten() {
        match attribute.kind() {
            NAME => name = attribute.value().strip_suffix(&[0]).map(|name| String::from_utf8_lossy(name).into_owned()),
            DATA => {
                let counts = NlasIterator::new(attribute.value());
                let seen = counts.flatten().find(|count| count.kind() == PACKETS);
                packets = seen.and_then(|seen| Some(u64::from_be_bytes(seen.value().try_into().ok()?)));
            }
            _ => {}
        }
    }
    name.zip(packets)
}

#[cfg(test)]
#[path = "counters_tests.rs"]
mod tests;
