//! Rules of the older iptables, in the words of its option `-S`, as the rules that `nft` tells: so both are judged alike
//! ([`super::verdicts`]). What is not known here may match or not.

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
        Self { tool, table: table.to_owned(), bases, rules }
    }

    /// What drops, in words.
    pub fn words(&self, base: &Base, drop: &Drop) -> String {
        let Self { tool, table, .. } = self;
        match &drop.rule {
            Some((chain, number)) => {
                format!("rule {number} in chain {chain} of {tool} (table {table}, hook {})", base.hook)
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

fn base(family: &'static str, table: &str, chain: &str, drops: bool) -> Option<Base> {
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
    let (mut parts, mut op) = (Vec::new(), "==");
    while let [word, rest @ ..] = words {
        words = rest;
        if *word == "!" {
            op = "!=";
            continue;
        }
        if matches!(*word, "-j" | "-g") {
            parts.extend(target(word, rest.first().copied().unwrap_or_default()));
            break;
        }
        if let Some((part, used)) = part(family, op, word, rest.first().copied().unwrap_or_default()) {
            parts.extend(part);
            words = rest.get(used..).unwrap_or_default();
        }
        op = "==";
    }
    parts
}

/// What an option says, and how many words behind it belong to it.
fn part(family: &str, op: &str, word: &str, value: &str) -> Option<(Option<Value>, usize)> {
    let name = || json!(value.strip_suffix('+').map_or_else(|| value.to_owned(), |head| format!("{head}*")));
    let states = || json!(value.split(',').map(str::to_lowercase).collect::<Vec<_>>());
    let is = if op == "==" { None } else { Some(never()) };
    Some(match word {
        "-s" => (Some(compare(op, payload(family, "saddr"), prefix(value))), 1),
        "-d" => (Some(compare(op, payload(family, "daddr"), prefix(value))), 1),
        "-i" => (Some(compare(op, json!({"meta": {"key": "iifname"}}), name())), 1),
        "-o" => (Some(compare(op, json!({"meta": {"key": "oifname"}}), name())), 1),
        "-p" if value == "all" => (is, 1),
        "-p" => (Some(compare(op, json!({"meta": {"key": "l4proto"}}), json!(value))), 1),
        "--physdev-in" => (Some(compare(op, json!({"physdev": "in"}), name())), 1),
        "--physdev-out" => (Some(compare(op, json!({"physdev": "out"}), name())), 1),
        "--physdev-is-bridged" | "--physdev-is-in" | "--physdev-is-out" => (is, 0),
        "--mac-source" => (Some(compare(op, payload("ether", "saddr"), json!(value.to_lowercase()))), 1),
        "--ctstate" | "--state" => (Some(compare(op, json!({"ct": {"key": "state"}}), states())), 1),
        "--comment" => (None, 1),
        "-m" if matches!(value, "physdev" | "mac" | "comment" | "conntrack" | "state" | "tcp" | "udp") => (None, 1),
        "-m" => (Some(unknown(value)), 1),
        option if option.starts_with('-') => (Some(unknown(option)), 0),
        // The value of an option that is not known.
        _ => return None,
    })
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

fn target(word: &str, name: &str) -> Option<Value> {
    Some(match name {
        "DROP" | "REJECT" => json!({"drop": null}),
        "ACCEPT" => json!({"accept": null}),
        "RETURN" => json!({"return": null}),
        "NFQUEUE" | "QUEUE" => json!({"queue": null}),
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "CT" | "NOTRACK" | "TRACE" | "AUDIT" | "CLASSIFY" | "TCPMSS"
        | "SET" | "DSCP" | "TOS" | "CHECKSUM" | "MASQUERADE" | "SNAT" | "" => return None,
        chain if word == "-g" => json!({"goto": {"target": chain}}),
        chain => json!({"jump": {"target": chain}}),
    })
}

#[cfg(test)]
#[path = "older_tests.rs"]
mod tests;
