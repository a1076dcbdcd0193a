//! What the kernel does in bulk, and when it is left out: by an operator's switch, by what a look at this machine has shown, or
//! because the kernel is known to do it wrong.
//!
//! | offload | saves | left out |
//! |---|---|---|
//! | trains (`UDP_SEGMENT`) | a system call and a way through the stack for each datagram sent | no interface makes checksums, before Linux 6.11 |
//! | equal trains | a datagram of one byte behind each train of equal datagrams | Linux 7.0 to 7.1.4 |
//! | receive (`UDP_GRO`) | the same for each datagram received | before Linux 5.12 |
//! | TAP | a read or write for each frame | the kernel refuses super-frames (6.6.44 and others with e269d79c7d35) |

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::types::IfName;

/// `[offload]` of `meshd.toml`: what an operator says of an offload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// Used where it works.
    #[default]
    Auto,
    /// Never used.
    Off,
}

/// Whether all datagrams of a train may have one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EqualTrains {
    /// Yes, but on kernels that damage such trains.
    #[default]
    Auto,
    /// Yes, whatever the kernel.
    Allow,
    /// No: a kernel on the way (also that of the machine that this virtual machine runs on) damages them.
    Avoid,
}

/// `[offload]` of `meshd.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Switches {
    /// `udp_segment`: several datagrams in one send.
    pub udp_segment: Switch,
    /// `equal_trains`
    pub equal_trains: EqualTrains,
    /// `udp_gro`: several datagrams in one receive.
    pub udp_gro: Switch,
    /// `tap`: super-frames and left-out checksums between guests and `meshd`.
    pub tap: Switch,
}

/// The number of a kernel: `uname -r` up to what is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// 6 of 6.18.44
    pub major: u16,
    /// 18 of 6.18.44
    pub minor: u16,
    /// 44 of 6.18.44; 0 where there is none.
    pub patch: u16,
}

/// Text that does not begin with two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the release of a kernel (like 6.18.44)")]
pub struct NoRelease;

impl Release {
    /// A release.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }
}

impl FromStr for Release {
    type Err = NoRelease;

    /// `6.18.44-fc-v669`, `7.0-rc1`, `5.14.0-503.el9.x86_64`, `4.19`.
    fn from_str(text: &str) -> Result<Self, NoRelease> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut numbers = text[..end].split('.').map(|number| number.parse::<u16>().ok());
        let mut next = || numbers.next().flatten();
        let (Some(major), Some(minor)) = (next(), next()) else { return Err(NoRelease) };
        Ok(Self { major, minor, patch: next().unwrap_or_default() })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Which super-frames a TAP takes when they are written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writes {
    /// Of TCP.
    pub tcp: bool,
    /// Of UDP (Linux 6.2).
    pub udp: bool,
}

impl Writes {
    /// All of them.
    pub const ALL: Self = Self { tcp: true, udp: true };
    /// None of them.
    pub const NONE: Self = Self { tcp: false, udp: false };
}

/// What a look at this machine has shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The kernel; none if its number cannot be read: what needs a new one is left out then.
    pub release: Option<Release>,
    /// What a TAP of our own took; none if it could not be tried: lanes find out.
    pub writes: Option<Writes>,
    /// Interfaces of the underlay, and whether they make the checksums of what they send. One that could not be asked is missing.
    pub checksums: Vec<(IfName, bool)>,
}

/// What lanes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offload {
    /// Several datagrams leave in one send.
    pub trains: bool,
    /// They may all have one size. If not, a datagram of one byte follows, which every WireGuard peer drops.
    pub equal_trains: bool,
    /// Several datagrams arrive in one receive.
    pub receive: bool,
    /// TAPs hand over super-frames and unfinished checksums.
    pub tap: bool,
    /// Super-frames that are written to TAPs.
    pub writes: Writes,
}

impl Default for Offload {
    /// Everything.
    fn default() -> Self {
        Self { trains: true, equal_trains: true, receive: true, tap: true, writes: Writes::ALL }
    }
}

/// How much of an offload is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All of it.
    On,
    /// Some of it; the reason says what not.
    Partly,
    /// Nothing.
    Off,
}

impl State {
    /// For people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Partly => "partly on",
            Self::Off => "off",
        }
    }
}

/// An offload, what is made of it, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Feature {
    /// As in `[offload]`: `udp_segment`, `equal_trains`, `udp_gro`, `tap`.
    pub name: String,
    /// How much of it is used.
    pub state: State,
    /// Why not all of it, or what it costs; none: it works.
    pub why: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// True where an operator has decided it.
    pub chosen: bool,
}

impl Feature {
    fn on(name: &str) -> Self {
        Self { name: name.to_owned(), state: State::On, why: None, help: None, chosen: false }
    }

    fn not(name: &str, state: State, why: String, help: impl Into<String>) -> Self {
        Self { state, why: Some(why), help: Some(help.into()), ..Self::on(name) }
    }

    /// An operator's word.
    fn chosen(name: &str, word: &str) -> Self {
        let why = format!("meshd.toml says {name} = \"{word}\"");
        Self { chosen: true, ..Self::not(name, State::Off, why, "leave the key out to let meshd decide") }
    }

    fn is_off(&self) -> bool {
        self.state == State::Off
    }
}

/// UDP checksums of trains are made in software from here on (Linux commit 10154dbded6d); before, such a train is refused.
const SOFTWARE_CHECKSUMS: Release = Release::new(6, 11, 0);
/// `UDP_GRO` before this one loses datagrams.
const GOOD_GRO: Release = Release::new(5, 12, 0);
/// From the first to the last, headers of trains whose datagrams all have one size are damaged (commit b10b446; mended by 78effd8
/// and 5f17ae0).
const EQUAL_BROKEN: (Release, Release) = (Release::new(7, 0, 0), Release::new(7, 1, 4));

/// What lanes use on this machine, and a line for each offload.
pub fn decide(switches: Switches, seen: &Seen) -> (Offload, Vec<Feature>) {
    let trains = trains(switches.udp_segment, seen);
    let equal = equal_trains(switches.equal_trains, seen.release);
    let receive = receive(switches.udp_gro, seen.release);
    let (tap, writes) = tap(switches.tap, seen.writes);
    let offload = Offload {
        trains: !trains.is_off(),
        equal_trains: !equal.is_off(),
        receive: !receive.is_off(),
        tap: switches.tap == Switch::Auto,
        writes,
    };
    (offload, vec![trains, equal, receive, tap])
}

fn trains(switch: Switch, seen: &Seen) -> Feature {
    const NAME: &str = "udp_segment";
    if switch == Switch::Off {
        return Feature::chosen(NAME, "off");
    }
    let without: Vec<&str> = seen.checksums.iter().filter(|(_, makes)| !makes).map(|(name, _)| name.as_str()).collect();
    let Some(first) = without.first() else { return Feature::on(NAME) };
    let named = without.join(" and ");
    let help = format!("ethtool -K {first} tx on; or Linux 6.11 and newer, which makes them itself");
    if seen.release.is_some_and(|release| release >= SOFTWARE_CHECKSUMS) {
        let why = format!("{named} makes no checksums, so the CPU does: slower, but right");
        Feature { state: State::On, ..Feature::not(NAME, State::On, why, format!("ethtool -K {first} tx on")) }
    } else if without.len() == seen.checksums.len() {
        Feature::not(NAME, State::Off, format!("{named} makes no checksums, and this kernel needs that"), help)
    } else {
        let why = format!("what leaves by {named} is sent one by one: it makes no checksums");
        Feature::not(NAME, State::Partly, why, help)
    }
}

fn equal_trains(switch: EqualTrains, release: Option<Release>) -> Feature {
    const NAME: &str = "equal_trains";
    let (first, last) = EQUAL_BROKEN;
    match (switch, release) {
        (EqualTrains::Allow, _) => Feature { chosen: true, ..Feature::on(NAME) },
        (EqualTrains::Avoid, _) => Feature::chosen(NAME, "avoid"),
        (EqualTrains::Auto, Some(release)) if release < first || release > last => Feature::on(NAME),
        (EqualTrains::Auto, release) => {
            let kernel =
                release.map_or_else(|| "this kernel, which says no number,".to_owned(), |r| format!("Linux {r}"));
            let why = format!("{kernel} may damage them; each ends with a datagram of one byte");
            Feature::not(NAME, State::Off, why, "Linux 7.1.5 or newer; or equal_trains = \"allow\" where it is mended")
        }
    }
}

fn receive(switch: Switch, release: Option<Release>) -> Feature {
    const NAME: &str = "udp_gro";
    match (switch, release) {
        (Switch::Off, _) => Feature::chosen(NAME, "off"),
        (Switch::Auto, Some(release)) if release >= GOOD_GRO => Feature::on(NAME),
        (Switch::Auto, _) => {
            let why = "it is not reliable before Linux 5.12".to_owned();
            Feature::not(NAME, State::Off, why, "a newer kernel")
        }
    }
}

fn tap(switch: Switch, writes: Option<Writes>) -> (Feature, Writes) {
    const NAME: &str = "tap";
    if switch == Switch::Off {
        return (Feature::chosen(NAME, "off"), Writes::NONE);
    }
    let not = |what: &str| {
        let why = format!("this kernel refuses super-frames{what}; they are cut before they reach a guest");
        Feature::not(NAME, State::Partly, why, "a newer kernel: 6.2 takes those of UDP, some of 6.6 refuse all")
    };
    match writes.unwrap_or(Writes::ALL) {
        all @ Writes { tcp: true, udp: true } => (Feature::on(NAME), all),
        some @ Writes { tcp: true, udp: false } => (not(" of UDP"), some),
        some @ Writes { tcp: false, udp: true } => (not(" of TCP"), some),
        none @ Writes { tcp: false, udp: false } => (not(""), none),
    }
}

#[cfg(test)]
#[path = "offload_tests.rs"]
mod tests;
