//! What is loaded of a packet filter, as one number: two loads of the same text have the same, and whatever somebody adds, takes away or
//! changes makes another. It is asked of the kernel itself, because `nft` reads all elements of all sets before it lists anything, and
//! sets that the kernel fills from packets are as large as guests like: with 8,000 elements a listing takes half a second.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;
use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR};
use netlink_sys::Socket;

use super::attributes::{attribute, each};
use super::counters::Family;
use super::netfilter::{self, BUFFER, HEADERS, TABLE_NAME};
use super::netlink::{HEADER, Messages, half, word};

/// What is said of a chain and stays as it was loaded (`NFTA_CHAIN_*`): name, hook, policy, type.
const OF_CHAIN: &[u16] = &[3, 4, 5, 7];
/// Of a set (`NFTA_SET_*`): name, flags, types and lengths of key and data, time-out. Not how many elements it has.
const OF_SET: &[u16] = &[2, 3, 4, 5, 6, 7, 11];
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
/// `NFT_SET_TIMEOUT`, `NFT_SET_EVAL`: the kernel fills and empties it.
const FORGETFUL: u32 = 0x10 | 0x20;
/// Of an object (`NFTA_OBJ_*`): name, type.
const OF_OBJECT: &[u16] = &[2, 3];
/// Of a rule (`NFTA_RULE_*`): its chain, its expressions.
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
/// `NFTA_EXPR_*`.
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
/// Expressions with a state of their own.
const COUNTING: [&[u8]; 3] = [b"counter\0", b"quota\0", b"last\0"];
/// Of a list of elements (`NFTA_SET_ELEM_LIST_*`) and an element (`NFTA_SET_ELEM_*`): key, data, flags, object, end of the key.
const LIST_ELEMENTS: u16 = 3;
const OF_ELEMENT: &[u16] = &[1, 2, 3, 9, 10];

/// How often a dump is repeated during which some filter was changed.
const TRIES: usize = 5;

/// Reads a table of the calling thread's namespace; none where there is none.
///
/// # Errors
/// The kernel has no nf_tables, does not let us, or the filters change faster than they can be read.
pub(super) fn read(family: Family, table: &str) -> io::Result<Option<u64>> {
    let socket = netfilter::connect()?;
    let mut reader = Reader { socket, buffer: vec![0; BUFFER], family, table: zero_ended(table) };
    let mut print = DefaultHasher::new();
    if !reader.chains(&mut print)? {
        return Ok(None);
    }
    reader.rules(&mut print)?;
    reader.objects(&mut print)?;
    reader.sets(&mut print)?;
    Ok(Some(print.finish()))
}

struct Reader {
    socket: Socket,
    buffer: Vec<u8>,
    family: Family,
    table: Vec<u8>,
}

impl Reader {
    /// False where the table has none, as no table of ours is.
    fn chains(&mut self, print: &mut DefaultHasher) -> io::Result<bool> {
        let chains = self.dump(netfilter::GET_CHAIN, &[], |message| part(message, OF_CHAIN))?;
        chains.iter().for_each(|chain| print.write_u64(*chain));
        Ok(!chains.is_empty())
    }

    /// Their order is part of what they mean.
    fn rules(&mut self, print: &mut DefaultHasher) -> io::Result<()> {
        self.dump(netfilter::GET_RULE, &[], rule)?.iter().for_each(|rule| print.write_u64(*rule));
        Ok(())
    }

    fn objects(&mut self, print: &mut DefaultHasher) -> io::Result<()> {
        let mut objects = self.dump(netfilter::GET_OBJECT, &[], |message| part(message, OF_OBJECT))?;
        objects.sort_unstable();
        objects.iter().for_each(|object| print.write_u64(*object));
        Ok(())
    }

    fn sets(&mut self, print: &mut DefaultHasher) -> io::Result<()> {
        let of = |message: &[u8]| {
            let flags =
                of_message(message, SET_FLAGS).and_then(|flags| Some(u32::from_be_bytes(flags.try_into().ok()?)));
            let ours = flags.unwrap_or_default() & FORGETFUL == 0;
            (of_message(message, SET_NAME).unwrap_or_default().to_vec(), ours, part(message, OF_SET))
        };
        let mut sets = self.dump(netfilter::GET_SET, &[], of)?;
        sets.sort_unstable();
        for (name, ours, set) in sets {
            print.write_u64(set);
            // In which order a set tells its elements is its own affair, and may change.
            let elements =
                if ours { self.dump(netfilter::GET_ELEMENT, &[(SET_NAME, &name)], elements)? } else { Vec::new() };
            let sum = elements.iter().flatten().fold(0_u64, |sum, element| sum.wrapping_add(*element));
            print.write_u64(sum);
        }
        Ok(())
    }

    /// What `read` makes of each answer about our table; nothing where there is no such table.
    fn dump<T>(&mut self, kind: u16, more: &[(u16, &[u8])], read: impl Fn(&[u8]) -> T) -> io::Result<Vec<T>> {
        let attributes = [&[(TABLE_NAME, &self.table[..])][..], more].concat();
        let question = netfilter::question(kind, NLM_F_DUMP, self.family as u8, &attributes);
        for _ in 0..TRIES {
            self.socket.send(&question, 0)?;
            let (mut all, mut interrupted, mut done) = (Vec::new(), false, false);
            while !done {
                let length = self.socket.recv(&mut &mut self.buffer[..], 0)?;
                let answer = self.buffer.get(..length).ok_or(io::ErrorKind::InvalidData)?;
                for message in Messages(answer) {
                    let message = message?;
                    interrupted |= half(message, 6).is_some_and(|flags| flags & NLM_F_DUMP_INTR != 0);
                    match half(message, 4).map(i32::from) {
                        Some(libc::NLMSG_DONE) => done = true,
                        Some(libc::NLMSG_ERROR) => match word(message, HEADER).map(u32::cast_signed) {
                            Some(code) if code == -libc::ENOENT => return Ok(Vec::new()),
                            code => {
                                return Err(io::Error::from_raw_os_error(
                                    code.map_or(libc::EPROTO, i32::saturating_abs),
                                ));
                            }
                        },
                        _ if of_message(message, TABLE_NAME) == Some(&self.table) => all.push(read(message)),
                        _ => {}
                    }
                }
            }
            if !interrupted {
                return Ok(all);
            }
        }
        Err(io::Error::other("the packet filter changes faster than it can be read"))
    }
}

fn zero_ended(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// An attribute of a message.
fn of_message(message: &[u8], kind: u16) -> Option<&[u8]> {
    attribute(message.get(HEADERS..)?, kind)
}

/// Some attributes of a message as a number.
fn part(message: &[u8], wanted: &[u16]) -> u64 {
    let mut print = DefaultHasher::new();
    print_of(message.get(HEADERS..).unwrap_or_default(), wanted, &mut print);
    print.finish()
}

fn print_of(attributes: &[u8], wanted: &[u16], print: &mut DefaultHasher) {
    for (kind, value) in each(attributes).filter(|(kind, _)| wanted.contains(kind)) {
        print.write_u16(kind);
        print.write_usize(value.len());
        print.write(value);
    }
}

/// A rule, without what its own counters say.
fn rule(message: &[u8]) -> u64 {
    let mut print = DefaultHasher::new();
    print.write(of_message(message, RULE_CHAIN).unwrap_or_default());
    for (_, expression) in each(of_message(message, RULE_EXPRESSIONS).unwrap_or_default()) {
        let counts = attribute(expression, EXPRESSION_NAME).is_some_and(|name| COUNTING.contains(&name));
        let wanted: &[u16] = if counts { &[EXPRESSION_NAME] } else { &[EXPRESSION_NAME, EXPRESSION_DATA] };
        print_of(expression, wanted, &mut print);
    }
    print.finish()
}

/// Each element of a message.
fn elements(message: &[u8]) -> Vec<u64> {
    let one = |(_, element): (u16, &[u8])| {
        let mut print = DefaultHasher::new();
        print_of(element, OF_ELEMENT, &mut print);
        print.finish()
    };
    each(of_message(message, LIST_ELEMENTS).unwrap_or_default()).map(one).collect()
}
