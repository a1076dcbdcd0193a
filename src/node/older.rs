//! Rules of the older iptables, in the words of its option `-S`, as the rules that `nft` tells: so both are judged alike
//! ([`super::verdicts`]). What is not known here may match or not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::barriers::Base;
use super::verdicts::{Drop, Rule, Rules};

/// One table of the older iptables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Older {
    /// The tool that shows it.
    pub tool: &'static str,
    /// Its name.
    pub table: String,
    /// Its chains at hooks that bridged frames come by.
    pub bases: Vec<Base>,
    /// Its rules by chain, numbered from 1 on.
    pub rules: Rules,
}

/// A part that never matches.
pub fn never() -> Value {
    compare("==", json!({"meta": {"key": "protocol"}}), json!("none"))
}

/// A comparison of a fact with a value; `op` is `==` or `!=`.
pub fn compare(op: &str, left: Value, right: Value) -> Value {
    json!({"match": {"op": op, "left": left, "right": right}})
}

/// A field of a header.
pub fn payload(protocol: &str, field: &str) -> Value {
    json!({"payload": {"protocol": protocol, "field": field}})
}

/// A part of which is known that it is there, and not what it asks.
pub fn unknown(name: &str) -> Value {
    json!({"xt": {"type": "match", "name": name}})
}

impl Older {
    /// Reads what `TOOL -t TABLE -S` says.
    pub fn read(tool: &'static str, table: &str, text: &str) -> Self {
        let family = if tool.starts_with("ip6") { "ip6" } else { "ip" };
        let (mut bases, mut rules) = (Vec::new(), Rules::new());
        for line in text.lines() {
            let words = words(line);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match words.as_slice() {
                ["-P", chain, policy] => bases.extend(base(family, table, chain, *policy == "DROP")),
                ["-N", chain] => drop(rules.entry((*chain).to_owned()).or_default()),
                ["-A", chain, rest @ ..] => {
                    let of = rules.entry((*chain).to_owned()).or_default();
                    let handle = u64::try_from(of.len()).unwrap_or(u64::MAX).saturating_add(1);
                    of.push(Rule { handle, parts: parts(family, rest) });
                }
                _ => {}
            }
        }
        // What is no chain is an extension.
        let chains: BTreeSet<String> = rules.keys().cloned().collect();
        for part in rules.values_mut().flatten().flat_map(|rule| &mut rule.parts) {
            let target = part.get("jump").or_else(|| part.get("goto")).and_then(|to| to.get("target")?.as_str());
            if let Some(name) = target.filter(|name| !chains.contains(*name)) {
                *part = extension(name);
            }
        }
        Self { tool, table: table.to_owned(), bases, rules }
    }

    /// What drops, in words.
    pub fn words(&self, base: &Base, drop: &Drop) -> String {
        let Self { tool, table, .. } = self;
        match &drop.rule {
            Some((chain, number)) => {
                let fate = drop.fate.words();
                format!("rule {number} in chain {chain} of {tool} (table {table}, hook {}){fate}", base.hook)
            }
            None => format!("the policy of chain {} of {tool} (table {table})", base.name),
        }
    }

    /// The command that ends it.
    pub fn way_out(&self, base: &Base, drop: &Drop) -> String {
        let Self { tool, table, .. } = self;
        match &drop.rule {
            Some((chain, number)) => format!("{tool} -t {table} -D {chain} {number}"),
            None => format!("{tool} -t {table} -P {} ACCEPT", base.name),
        }
    }

    /// The command that shows it.
    pub fn shows(&self, base: &Base, drop: &Drop) -> String {
        let chain = drop.rule.as_ref().map_or(&base.name, |(chain, _)| chain);
        format!("{} -t {} -vnL {chain} --line-numbers", self.tool, self.table)
    }
}

/// Frames of our bridges are not tracked, and so never come by the table `nat`.
fn base(family: &'static str, table: &str, chain: &str, drops: bool) -> Option<Base> {
    if table == "nat" {
        return None;
    }
    let hook = match chain {
        "PREROUTING" => "prerouting",
        "FORWARD" => "forward",
        "POSTROUTING" => "postrouting",
        _ => return None,
    };
    Some(Base { family, table: table.to_owned(), name: chain.to_owned(), hook, drops, devices: Vec::new() })
}

/// Words of a line; what is in quotes is one.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for letter in line.trim().chars() {
        match letter {
            _ if escaped => {
                word.push(letter);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => all.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            _ => word.push(letter),
        }
    }
    all.extend(Some(word).filter(|word| !word.is_empty()));
    all
}

fn parts(family: &str, mut words: &[&str]) -> Vec<Value> {
    let (mut parts, mut op, mut module) = (Vec::new(), "==", "");
    while let [word, rest @ ..] = words {
        words = rest;
        let value = rest.first().copied().unwrap_or_default();
        match *word {
            "!" => {
                op = "!=";
                continue;
            }
            "-j" | "-g" => {
                parts.extend(target(word, value, rest.get(1..).unwrap_or_default()));
                break;
            }
            "-m" => {
                module = value;
                words = rest.get(1..).unwrap_or_default();
                parts.extend(Some(unknown(value)).filter(|_| !READ.contains(&value)));
            }
            _ => {
                if let Some((part, used)) = part(family, (op, module), word, value) {
                    parts.extend(part);
                    words = rest.get(used..).unwrap_or_default();
                }
            }
        }
        op = "==";
    }
    parts
}

/// Modules whose options say all that they ask.
const READ: [&str; 11] =
    ["comment", "connmark", "conntrack", "icmp", "iprange", "mac", "mark", "physdev", "state", "tcp", "udp"];

/// What an option says, and how many words behind it belong to it.
fn part(family: &str, (op, module): (&str, &str), word: &str, value: &str) -> Option<(Option<Value>, usize)> {
    let name = || json!(value.strip_suffix('+').map_or_else(|| value.to_owned(), |head| format!("{head}*")));
    let states = || json!(value.split(',').map(str::to_lowercase).collect::<Vec<_>>());
    let is = if op == "==" { None } else { Some(never()) };
    let mark = |of: &str| Some(marked(op, json!({of: {"key": "mark"}}), value).unwrap_or_else(|| unknown(module)));
    let range = || value.split_once('-').map_or_else(|| json!("@"), |(from, to)| json!({"range": [from, to]}));
    Some(match (module, word) {
        (_, "-s") => (Some(compare(op, payload(family, "saddr"), prefix(value))), 1),
        (_, "-d") => (Some(compare(op, payload(family, "daddr"), prefix(value))), 1),
        (_, "-i") => (Some(compare(op, json!({"meta": {"key": "iifname"}}), name())), 1),
        (_, "-o") => (Some(compare(op, json!({"meta": {"key": "oifname"}}), name())), 1),
        (_, "-p") if value == "all" => (is, 1),
        (_, "-p") => (Some(compare(op, json!({"meta": {"key": "l4proto"}}), json!(value))), 1),
        ("physdev", "--physdev-in") => (Some(compare(op, json!({"physdev": "in"}), name())), 1),
        ("physdev", "--physdev-out") => (Some(compare(op, json!({"physdev": "out"}), name())), 1),
        ("physdev", "--physdev-is-bridged" | "--physdev-is-in" | "--physdev-is-out") => (is, 0),
        ("mac", "--mac-source") => (Some(compare(op, payload("ether", "saddr"), json!(value.to_lowercase()))), 1),
        ("conntrack" | "state", "--ctstate" | "--state") => {
            (Some(compare(op, json!({"ct": {"key": "state"}}), states())), 1)
        }
        ("iprange", "--src-range") => (Some(compare(op, payload(family, "saddr"), range())), 1),
        ("iprange", "--dst-range") => (Some(compare(op, payload(family, "daddr"), range())), 1),
        ("mark", "--mark") => (mark("meta"), 1),
        ("connmark", "--mark") => (mark("ct"), 1),
        (_, "--comment") => (None, 1),
        (_, option) if option.starts_with('-') => (Some(unknown(module)), 0),
        // The value of an option that is not known.
        _ => return None,
    })
}

/// A value and its mask, as iptables writes both.
fn bits(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match text.split_once('/') {
        Some((value, mask)) => Some((number(value)?, number(mask)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}

/// A comparison of some bits of a mark.
fn marked(op: &str, mark: Value, text: &str) -> Option<Value> {
    let (value, mask) = bits(text)?;
    Some(compare_bits(op, mark, value, mask))
}

/// The same of what is known.
pub fn compare_bits(op: &str, mark: Value, value: u32, mask: u32) -> Value {
    let left = if mask == u32::MAX { mark } else { json!({"&": [mark, mask]}) };
    compare(op, left, json!(value))
}

/// Writes the bits `mask` of a mark, as `--set-xmark` does: those that are set are cleared, and then the value's are turned.
pub fn write_mark(value: u32, mask: u32) -> Value {
    let mark = json!({"meta": {"key": "mark"}});
    let kept = json!({"&": [mark, !mask]});
    let value = if mask == u32::MAX { json!(value) } else { json!({"^": [kept, value]}) };
    json!({"mangle": {"key": mark, "value": value}})
}

/// An address, or a prefix as `nft` tells it. What is not one matches or not.
fn prefix(text: &str) -> Value {
    match text.split_once('/') {
        Some((address, length)) => length
            .parse::<u8>()
            .map_or_else(|_| json!("@"), |length| json!({"prefix": {"addr": address, "len": length}})),
        None => json!(text),
    }
}

/// `-` options behind a target are its own.
fn target(word: &str, name: &str, options: &[&str]) -> Option<Value> {
    Some(match name {
        "DROP" | "REJECT" => json!({"drop": null}),
        "ACCEPT" => json!({"accept": null}),
        "RETURN" => json!({"return": null}),
        "NFQUEUE" | "QUEUE" => json!({"queue": null}),
        "MARK" => match options {
            ["--set-xmark", text] => {
                bits(text).map_or_else(|| extension(name), |(value, mask)| write_mark(value, mask))
            }
            _ => extension(name),
        },
        "LOG" | "" => return None,
        chain if word == "-g" => json!({"goto": {"target": chain}}),
        chain => json!({"jump": {"target": chain}}),
    })
}

fn extension(name: &str) -> Value {
    json!({"xt": {"type": "target", "name": name}})
}

#[cfg(test)]
#[path = "older_tests.rs"]
mod tests;
