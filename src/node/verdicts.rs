//! What a packet filter of others makes of a frame, as far as its rules can be read: `nft -j` says them (libnftables-json(5)). What is not known
//! here (sets by name, matches of iptables, limits) may match or not, and that is said.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compared::{Match, every, is, some};
use super::facts::Fact;
pub use super::facts::Frame;

/// Chains in chains that are followed, at most (`NFT_JUMP_STACK_SIZE`, include/net/netfilter/nf_tables.h).
const DEPTH: u8 = 16;
/// Rules that are looked at for one frame.
const STEPS: usize = 50_000;
/// Rules of one chain at a hook that may drop a frame and are kept, at most.
const MAYBE: usize = 32;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The kernel's number of it.
    pub handle: u64,
    /// Its parts.
    pub parts: Vec<Value>,
}

/// All rules of a table, by chain.
pub type Rules = BTreeMap<String, Vec<Rule>>;

/// What drops a frame, and how sure that is; the surest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drop {
    /// How sure.
    pub sure: Sure,
    /// Chain and handle of the rule; none: the policy of the chain at the hook.
    pub rule: Option<(String, u64)>,
}

/// How sure a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sure {
    /// The frame is dropped.
    Yes,
    /// It is, unless something before lets it pass that cannot be read.
    Likely,
    /// It is, if something matches that cannot be read.
    Maybe,
}

/// What becomes of a frame in a chain at a hook. None: it passes.
pub fn judge(rules: &Rules, chain: &str, policy_drops: bool, frame: &Frame) -> Option<Drop> {
    all(rules, chain, policy_drops, frame).into_iter().min_by_key(|drop| drop.sure)
}

/// All that may drop a frame in a chain at a hook, in the order in which it is asked; what drops it surely, or most likely, is the last.
pub fn all(rules: &Rules, chain: &str, policy_drops: bool, frame: &Frame) -> Vec<Drop> {
    let mut walk = Walk { rules, frame, sure: Sure::Yes, maybe: Vec::new(), steps: 0 };
    let dropped = match walk.chain(chain, DEPTH) {
        End::Accepted => None,
        End::Dropped(rule) => Some(Drop { sure: walk.sure, rule: Some(rule) }),
        End::Through => policy_drops.then_some(Drop { sure: walk.sure, rule: None }),
    };
    let maybe = walk.maybe.into_iter().map(|rule| Drop { sure: Sure::Maybe, rule: Some(rule) });
    maybe.chain(dropped).collect()
}

/// How a chain ends.
enum End {
    Accepted,
    Dropped((String, u64)),
    Through,
}

/// What a part of a rule that only iptables and its like have comes to.
enum Old {
    Match(Match),
    Drops,
    Queues,
}

struct Walk<'a> {
    rules: &'a Rules,
    frame: &'a Frame,
    sure: Sure,
    maybe: Vec<(String, u64)>,
    steps: usize,
}

impl Walk<'_> {
    fn chain(&mut self, name: &str, depth: u8) -> End {
        for rule in self.rules.get(name).into_iter().flatten() {
            self.steps += 1;
            if self.steps > STEPS {
                self.sure = Sure::Likely;
                return End::Through;
            }
            if let Some(end) = self.rule(name, rule, depth) {
                return end;
            }
        }
        End::Through
    }

    /// None: the next rule is looked at.
    fn rule(&mut self, chain: &str, rule: &Rule, depth: u8) -> Option<End> {
        let mut matches = Match::Yes;
        for part in &rule.parts {
            let Some((word, value)) = part.as_object().and_then(|part| part.iter().next()) else {
                matches = Match::Maybe;
                continue;
            };
            let one = match word.as_str() {
                "match" => self.matches(value),
                "vmap" => match self.mapped(value) {
                    Some(verdict) => {
                        let (word, value) = verdict.iter().next()?;
                        let (word, value) = (word.as_str(), value);
                        return self.verdict((word, value), chain, rule, matches, depth);
                    }
                    // Something in it may be about the frame all the same.
                    None => {
                        if self.hidden(value) {
                            self.may(chain, rule.handle);
                        }
                        self.sure = Sure::Likely;
                        Match::No
                    }
                },
                "xt" => match old(value) {
                    Old::Match(one) => one,
                    Old::Drops => return self.verdict(("drop", value), chain, rule, matches, depth),
                    Old::Queues => return self.verdict(("queue", value), chain, rule, matches, depth),
                },
                // What it is for, or bears, is another from here on.
                "mangle" if self.turns(value) && matches != Match::No => {
                    self.may(chain, rule.handle);
                    Match::Yes
                }
                // What passes for some frames only.
                "limit" | "quota" | "connlimit" => Match::Maybe,
                "accept" | "drop" | "reject" | "jump" | "goto" | "return" | "continue" | "queue" | "fwd" => {
                    return self.verdict((word, value), chain, rule, matches, depth);
                }
                _ => Match::Yes,
            };
            match one {
                Match::No => return None,
                Match::Maybe => matches = Match::Maybe,
                Match::Yes => {}
            }
        }
        None
    }

    fn verdict(
        &mut self,
        (word, value): (&str, &Value),
        chain: &str,
        rule: &Rule,
        matches: Match,
        depth: u8,
    ) -> Option<End> {
        let here = || (chain.to_owned(), rule.handle);
        let end = match word {
            "drop" | "reject" | "fwd" => End::Dropped(here()),
            "accept" => End::Accepted,
            // Whoever takes it from the queue decides.
            "queue" => {
                self.may(chain, rule.handle);
                self.sure = Sure::Likely;
                return None;
            }
            "return" => End::Through,
            "jump" | "goto" => {
                let target = value.get("target").and_then(Value::as_str).unwrap_or_default();
                let end = if depth == 0 { End::Through } else { self.chain(target, depth - 1) };
                match end {
                    End::Through if word == "jump" => return None,
                    End::Accepted | End::Dropped(_) | End::Through => end,
                }
            }
            _ => return None,
        };
        if matches == Match::Yes {
            return Some(end);
        }
        match end {
            End::Dropped((chain, handle)) => self.may(&chain, handle),
            End::Accepted | End::Through => self.sure = Sure::Likely,
        }
        None
    }

    /// True for a statement that writes other addresses into the frame, or gives it a mark that this table asks for where it drops.
    fn turns(&self, value: &Value) -> bool {
        let Some(key) = value.get("key") else { return false };
        let marks = || key.get("meta").and_then(|meta| meta.get("key")).and_then(Value::as_str) == Some("mark");
        let whom = |at: &Value| {
            let field = at.get("field").and_then(Value::as_str);
            field.is_none_or(|field| field.starts_with("saddr") || field.starts_with("daddr"))
        };
        key.get("payload").is_some_and(whom) || (marks() && self.rules.values().flatten().any(drops_marked))
    }

    /// A rule may drop the frame.
    fn may(&mut self, chain: &str, handle: u64) {
        let rule = (chain.to_owned(), handle);
        if self.maybe.len() < MAYBE && !self.maybe.contains(&rule) {
            self.maybe.push(rule);
        }
    }

    /// True for a map of verdicts by who sends or gets a frame, of which nothing is read but its name, and that may be about this one.
    fn hidden(&self, value: &Value) -> bool {
        let of = |key| match self.frame.fact(key) {
            Fact::Text(_) | Fact::Addresses(_) | Fact::Mac(_) => self.frame.strange,
            Fact::Absent | Fact::Unknown | Fact::Number(_) | Fact::Strange(_) => false,
        };
        let key = value.get("key");
        let parts = key.and_then(|key| key.get("concat")).and_then(Value::as_array);
        let named = value.get("data").is_some_and(Value::is_string);
        let about = parts.map_or_else(|| key.is_some_and(of), |parts| parts.iter().any(of));
        named && about && self.frame.unlisted
    }

    fn matches(&self, value: &Value) -> Match {
        let (Some(left), Some(right)) = (value.get("left"), value.get("right")) else { return Match::Maybe };
        let op = value.get("op").and_then(Value::as_str).unwrap_or("==");
        let equal = if let Some(parts) = left.get("concat").and_then(Value::as_array) {
            self.together(parts, right)
        } else {
            match self.frame.fact(left) {
                Fact::Absent => return Match::No,
                Fact::Unknown => return Match::Maybe,
                fact @ (Fact::Text(_) | Fact::Number(_) | Fact::Addresses(_) | Fact::Mac(_) | Fact::Strange(_)) => {
                    is(&fact, right)
                }
            }
        };
        match (op, equal) {
            ("==" | "in", equal) => equal,
            ("!=", Match::Yes) => Match::No,
            ("!=", Match::No) => Match::Yes,
            _ => Match::Maybe,
        }
    }

    /// Several parts of a frame, compared together.
    fn together(&self, parts: &[Value], right: &Value) -> Match {
        let facts: Vec<Fact> = parts.iter().map(|part| self.frame.fact(part)).collect();
        if facts.iter().any(|fact| matches!(fact, Fact::Absent)) {
            return Match::No;
        }
        if right.is_string() {
            let out = facts.iter().any(|fact| matches!(fact, Fact::Strange(true)));
            return if out { Match::No } else { Match::Maybe };
        }
        let all = right.get("set").and_then(Value::as_array);
        let elements = all.map_or_else(|| std::slice::from_ref(right), Vec::as_slice);
        let one = |element: &Value| {
            let Some(values) = element.get("concat").and_then(Value::as_array) else { return Match::Maybe };
            every(facts.iter().zip(values).map(|(fact, value)| is(fact, value)))
        };
        some(elements.iter().map(one))
    }

    /// The verdict of a map that is written in the rule. None: nothing is said of the frame.
    fn mapped<'v>(&self, value: &'v Value) -> Option<&'v serde_json::Map<String, Value>> {
        let fact = self.frame.fact(value.get("key")?);
        let pairs = value.get("data")?.get("set")?.as_array()?;
        let pair = pairs
            .iter()
            .filter_map(Value::as_array)
            .find(|pair| pair.first().is_some_and(|key| is(&fact, key) == Match::Yes))?;
        pair.get(1)?.as_object()
    }
}

/// True for a rule that asks for a mark and drops.
fn drops_marked(rule: &Rule) -> bool {
    let asks = |part: &Value| {
        let left = part.get("match").and_then(|asked| asked.get("left"));
        let left = left.map(|left| left.get("&").and_then(|of| of.get(0)).unwrap_or(left));
        left.and_then(|left| left.get("meta")?.get("key")?.as_str()) == Some("mark")
    };
    let drops = |part: &Value| ["drop", "reject", "queue", "jump", "goto"].iter().any(|word| part.get(word).is_some());
    rule.parts.iter().any(asks) && rule.parts.iter().any(drops)
}

/// What parts of iptables come to that have no other form: what is known of them here has been put into words of `nft` before
/// ([`crate::linux`]).
fn old(value: &Value) -> Old {
    let of = |key| value.get(key).and_then(Value::as_str);
    match (of("type"), of("name")) {
        (Some("match"), Some("comment")) | (Some("watcher"), _) => Old::Match(Match::Yes),
        (Some("target"), Some("REJECT")) => Old::Drops,
        // Whoever gets it decides, or it goes elsewhere, or it is answered here.
        (Some("target"), Some("NFQUEUE" | "arpreply" | "redirect" | "dnat" | "TPROXY")) => Old::Queues,
        (Some("target"), _) => Old::Match(Match::Yes),
        _ => Old::Match(Match::Maybe),
    }
}

#[cfg(test)]
#[path = "verdicts_tests.rs"]
mod tests;
