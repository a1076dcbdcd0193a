//! Reading: JSON text to a [`File`], each fault with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{Entry, File};
use crate::api::problem::{Exit, Place, Problem};
use crate::config::{Source, nearest};
use crate::types::{Mac, UdpPort};

/// Code of a table file that cannot be used.
const TABLE_FILE: &str = "M0310";
/// Keys of an entry.
const KEYS: [&str; 5] = ["ip", "port", "arp", "ndp", "dhcp-proxy"];
/// Keys that only the Joyent fork of 2018 knows.
const FORK: [&str; 3] = ["vlan", "vid", "dcid"];

/// What happens to what the form does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It is refused.
    #[default]
    Strict,
    /// It is left out and listed, and of two entries for one address the later one counts, as in the original.
    Lenient,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The entries.
    pub file: File,
    /// What a lenient reading left out, one sentence each.
    pub ignored: Vec<String>,
}

/// Reads a file.
///
/// # Errors
/// A [`Problem`] M0310 with the place: not JSON (or cut), an address that is none, a value of the wrong type; in strict mode
/// also an unknown key, an address given twice, and an entry that would never match.
pub fn read(source: Source<'_>, mode: Mode) -> Result<Reading, Problem> {
    let mut doubts = Doubts { mode, ignored: Vec::new() };
    let mut json = serde_json::Deserializer::from_str(source.text);
    let entries = Table(&mut doubts).deserialize(&mut json).and_then(|entries| json.end().map(|()| entries));
    match entries {
        Ok(entries) => Ok(Reading { file: File { entries }, ignored: doubts.ignored }),
        Err(error) => Err(problem(source, &error)),
    }
}

fn problem(source: Source<'_>, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    if error.is_eof() {
        let place = source.line_column(error.line(), error.column().max(1));
        let problem = Problem::new(TABLE_FILE, Exit::Invalid, format!("the table file ends in the middle: {what}"));
        return problem
            .at(place)
            .note("nothing of it is used")
            .help("write it again, to a temporary file that is renamed");
    }
    let place = token(source, error.line(), error.column());
    let problem = Problem::new(TABLE_FILE, Exit::Invalid, reworded(what)).at(place).note("nothing of the file is used");
    match what.split_once("; help: ") {
        Some((_, help)) => problem.help(help),
        None => problem,
    }
}

fn reworded(what: &str) -> String {
    let what = what.split_once("; help: ").map_or(what, |(what, _)| what);
    let Some((found, expected)) = what
        .strip_prefix("invalid type: ")
        .or_else(|| what.strip_prefix("invalid value: "))
        .and_then(|rest| rest.split_once(", expected "))
    else {
        return what.to_owned();
    };
    let expected = if expected == "u64" { "a whole number" } else { expected };
    format!("{} stands where {expected} is needed", found.replace("floating point", "the fraction").replace('`', ""))
}

/// The place of the token that ends at a column: the parser counts bytes and says where it stopped, not where it began.
fn token(source: Source<'_>, line: usize, end: usize) -> Place {
    let text = source.text.lines().nth(line.saturating_sub(1)).unwrap_or("").as_bytes();
    // A value that a visitor refused is only noticed at the delimiter behind it.
    let behind = |b: &u8| matches!(b, b',' | b'}' | b']' | b':') || b.is_ascii_whitespace();
    let end = text[..end.min(text.len())].iter().rposition(|b| !behind(b)).map_or(0, |at| at + 1);
    let before = &text[..end];
    let start = match before.last() {
        Some(b'"') => before[..end - 1].iter().rposition(|b| *b == b'"').unwrap_or(end - 1),
        Some(b) if b.is_ascii_alphanumeric() => {
            before.iter().rposition(|b| !b.is_ascii_alphanumeric() && !b"+-.".contains(b)).map_or(0, |at| at + 1)
        }
        Some(_) | None => end.saturating_sub(1),
    };
    let line_start: usize = source.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    source.bytes(line_start + start..line_start + end.max(start + 1))
}

/// What the form does not know, or knows and never matches.
struct Doubts {
    mode: Mode,
    ignored: Vec<String>,
}

impl Doubts {
    /// Refuses, or lists.
    fn say<E: de::Error>(&mut self, what: String, help: &str) -> Result<(), E> {
        match self.mode {
            Mode::Strict => Err(E::custom(format!("{what}; help: {help}"))),
            Mode::Lenient => {
                self.ignored.push(what);
                Ok(())
            }
        }
    }

    /// The value of a text, if it is one.
    fn value<T: FromStr, E: de::Error>(&mut self, mac: Mac, key: &str, text: &str, is: &str) -> Result<Option<T>, E> {
        if let Ok(value) = text.parse() {
            return Ok(Some(value));
        }
        let help = if text == "dhcp" {
            "leave the key out: an address that DHCP gives is not known here"
        } else {
            "correct it, or leave the key out"
        };
        self.say(format!("{mac}: {key} is '{text}', which is no {is} and would never match"), help).map(|()| None)
    }
}

/// The top level.
struct Table<'a>(&'a mut Doubts);

/// The value of one address.
struct Value<'a>(Mac, &'a mut Doubts);

impl<'de> DeserializeSeed<'de> for Table<'_> {
    type Value = BTreeMap<Mac, Entry>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Table<'_> {
    type Value = BTreeMap<Mac, Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one entry for each Ethernet address")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(Text(key)) = map.next_key()? {
            let Some(mac) = owner(&key, self.0)? else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if entries.contains_key(&mac) {
                self.0
                    .say(format!("{mac} is given twice; the original takes the later entry"), "keep one of the two")?;
            }
            if let Some(entry) = map.next_value_seed(Value(mac, &mut *self.0))? {
                entries.insert(mac, entry);
            }
        }
        Ok(entries)
    }
}

/// The guest that a top-level key names.
fn owner<E: de::Error>(key: &str, doubts: &mut Doubts) -> Result<Option<Mac>, E> {
    if matches!(key, "fabrics" | "attached-fabrics") {
        let what = format!("'{key}' belongs to the fabrics of the Joyent fork, which route between subnets");
        return doubts.say(what, "a table file holds Ethernet addresses only; remove it").map(|()| None);
    }
    let mac: Mac = key.parse().map_err(E::custom)?;
    match mac.unicast() {
        Ok(mac) => Ok(Some(mac)),
        Err(error) => doubts.say(error.to_string(), "remove the entry").map(|()| None),
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Option<Entry>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Option<Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with ip and port")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Entry>, A::Error> {
        let Self(mac, doubts) = self;
        let mut given = Given::default();
        let mut seen = BTreeSet::new();
        while let Some(Text(key)) = map.next_key()? {
            if !seen.insert(key.clone()) {
                doubts.say(format!("{mac}: '{key}' is given twice"), "keep one of the two")?;
            }
            match key.as_str() {
                "port" => given.port = Some(map.next_value()?),
                "ip" => given.ip = doubts.value(mac, "ip", &map.next_value::<Text>()?.0, "IPv4 or IPv6 address")?,
                "arp" => given.arp = doubts.value(mac, "arp", &map.next_value::<Text>()?.0, "IPv4 address")?,
                "ndp" => given.ndp = doubts.value(mac, "ndp", &map.next_value::<Text>()?.0, "IPv6 address")?,
                "dhcp-proxy" => {
                    given.dhcp_proxy =
                        doubts.value(mac, "dhcp-proxy", &map.next_value::<Text>()?.0, "Ethernet address")?;
                }
                other => {
                    let (what, help) = unknown(mac, other);
                    doubts.say(what, &help)?;
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        given.entry(mac, doubts)
    }
}

/// The values of one entry so far.
#[derive(Default)]
struct Given {
    ip: Option<IpAddr>,
    port: Option<UdpPort>,
    arp: Option<Ipv4Addr>,
    ndp: Option<Ipv6Addr>,
    dhcp_proxy: Option<Mac>,
}

impl Given {
    fn entry<E: de::Error>(self, mac: Mac, doubts: &mut Doubts) -> Result<Option<Entry>, E> {
        let Some(ip) = self.ip else {
            let help = "write the underlay address of the node that hosts it";
            return doubts.say(format!("{mac} has no ip, so frames for it would be dropped"), help).map(|()| None);
        };
        if self.port.is_none() {
            let help = "write the VXLAN UDP port of that node, mostly 4789";
            doubts.say(format!("{mac} has no port, so frames for it would be dropped"), help)?;
        }
        let Self { port, arp, ndp, dhcp_proxy, .. } = self;
        // The original stores IPv4 as v4-mapped IPv6, so both spellings are one address.
        Ok(Some(Entry { ip: ip.to_canonical(), port, arp, ndp, dhcp_proxy }))
    }
}

/// What to say of an unknown key, and what to do.
fn unknown(mac: Mac, key: &str) -> (String, String) {
    if FORK.contains(&key) {
        let what = format!("{mac}: '{key}' belongs to the Joyent fork of illumos; the form has no such key");
        return (what, "tagged guests need a management node; remove the key".to_owned());
    }
    let what = format!("{mac}: the key '{key}' is not known");
    let near = nearest(key, KEYS).map_or_else(String::new, |near| format!("did you mean '{near}'? "));
    (what, format!("{near}known: {}", KEYS.join(", ")))
}

/// A 7-bit text: the original knows no other.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.chars().find(|c| !c.is_ascii() || c.is_ascii_control()) {
            None => Ok(Self(text)),
            Some(c) => Err(de::Error::custom(format!("{c:?} is in a text that can only hold 7-bit characters"))),
        }
    }
}
