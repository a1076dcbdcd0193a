//! What a packet filter of others makes of a frame, as far as its rules can be read: `nft -j` says them (libnftables-json(5)). What is not known
//! here (maps by name, sets that were not read, matches of iptables, limits) may match or not, and that is said.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use serde_json::Value;

use super::compared::{Match, every, is, some};
use super::extensions::{self, Part};
use super::facts::Fact;
pub use super::facts::Frame;
pub use super::marks::Marks;
use super::sets::Set;

/// Chains in chains that are followed, at most: nftables has 16 (`NFT_JUMP_STACK_SIZE`, include/net/netfilter/nf_tables.h), the older iptables
/// no such bound.
const DEPTH: u8 = 64;
/// Rules that are looked at for one frame.
const STEPS: usize = 50_000;
/// Rules of one chain at a hook that may drop a frame and are kept, at most.
const MAYBE: usize = 512;
/// Fields whose value keeps no frame from arriving.
const WRITABLE: [&str; 7] = ["dscp", "ecn", "ttl", "hoplimit", "flowlabel", "id", "pcp"];

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The kernel's number of it.
    pub handle: u64,
    /// Its parts.
    pub parts: Vec<Value>,
}

/// All rules of a table, by chain, and what is in its sets, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    chains: BTreeMap<String, Vec<Rule>>,
    /// Sets by name.
    pub sets: BTreeMap<String, Set>,
}

impl Rules {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<const N: usize> From<[(String, Vec<Rule>); N]> for Rules {
    fn from(chains: [(String, Vec<Rule>); N]) -> Self {
        chains.into_iter().collect()
    }
}

impl FromIterator<(String, Vec<Rule>)> for Rules {
    fn from_iter<T: IntoIterator<Item = (String, Vec<Rule>)>>(chains: T) -> Self {
        Self { chains: chains.into_iter().collect(), sets: BTreeMap::new() }
    }
}

impl Deref for Rules {
    type Target = BTreeMap<String, Vec<Rule>>;

    fn deref(&self) -> &Self::Target {
        &self.chains
    }
}

impl DerefMut for Rules {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.chains
    }
}

/// What drops a frame, and how sure that is; the surest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drop {
    /// How sure.
    pub sure: Sure,
    /// Chain and handle of the rule; none: the policy of the chain at the hook.
    pub rule: Option<(String, u64)>,
    /// What becomes of the frame.
    pub fate: Fate,
}

/// What a rule does with a frame that does not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Fate {
    /// It is dropped.
    #[default]
    Dropped,
    /// It gets other addresses.
    Rewritten,
    /// It goes elsewhere.
    Taken,
    /// A program decides.
    Queued,
}

impl Fate {
    /// What a rule does besides dropping, in words that follow its place.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Dropped => "",
            Self::Rewritten => ", which rewrites it",
            Self::Taken => ", which sends it elsewhere",
            Self::Queued => ", which leaves it to a program",
        }
    }
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
    let mut walk = Walk::new(rules, frame);
    let dropped = match walk.chain(chain, DEPTH) {
        End::Accepted => None,
        End::Dropped(rule, fate) => Some(Drop { sure: walk.sure, rule: Some(rule), fate }),
        End::Through => policy_drops.then_some(Drop { sure: walk.sure, rule: None, fate: Fate::Dropped }),
    };
    let maybe = walk.maybe.into_iter().map(|(rule, fate)| Drop { sure: Sure::Maybe, rule: Some(rule), fate });
    maybe.chain(dropped).collect()
}

/// The marks of a frame behind a chain at a hook.
pub(super) fn marks(rules: &Rules, chain: &str, frame: &Frame) -> Marks {
    let mut walk = Walk::new(rules, frame);
    walk.chain(chain, DEPTH);
    walk.frame.marks
}

/// True where a table may mark a frame.
pub(super) fn may_mark(rules: &Rules) -> bool {
    let marks = |part: &Value| match part.get("xt") {
        Some(value) => extensions::part(value) == Part::Marks,
        None => {
            part.get("mangle").and_then(|written| written.get("key")?.get("meta")?.get("key")?.as_str()) == Some("mark")
        }
    };
    rules.values().flatten().flat_map(|rule| &rule.parts).any(marks)
}

/// How a chain ends.
enum End {
    Accepted,
    Dropped((String, u64), Fate),
    Through,
}

/// What becomes of a frame at one part of a rule.
enum At {
    Is(Match),
    /// It may end there; else it goes on.
    May(Fate),
    Verdict,
}

struct Walk<'a> {
    rules: &'a Rules,
    /// As it is at the rule that is looked at: rules mark it.
    frame: Frame,
    sure: Sure,
    maybe: Vec<((String, u64), Fate)>,
    /// The chain that is looked at was not surely jumped to.
    perhaps: bool,
    steps: usize,
}

impl<'a> Walk<'a> {
    fn new(rules: &'a Rules, frame: &Frame) -> Self {
        Walk { rules, frame: frame.clone(), sure: Sure::Yes, maybe: Vec::new(), perhaps: false, steps: 0 }
    }

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
                if self.frame.nobody {
                    return None;
                }
                matches = Match::Maybe;
                continue;
            };
            let at = if word == "vmap" {
                match self.mapped(value, (chain, rule, depth), matches) {
                    Ok(end) => return end,
                    Err(at) => at,
                }
            } else {
                self.part(word, value, matches)
            };
            match at {
                At::Is(Match::No) => {
                    self.unmarked(word, value, rule);
                    return None;
                }
                At::Is(one) => matches = every([matches, one].into_iter()),
                At::May(fate) => self.may((chain, rule.handle), fate),
                At::Verdict => return self.verdict((word, value), chain, rule, matches, depth),
            }
        }
        None
    }

    /// What cannot be read.
    const fn unknown(&self) -> Match {
        if self.frame.nobody { Match::No } else { Match::Maybe }
    }

    fn part(&mut self, word: &str, value: &Value, matches: Match) -> At {
        match word {
            "match" => At::Is(self.matches(value)),
            "xt" => match extensions::part(value) {
                Part::Through => At::Is(Match::Yes),
                Part::Content => At::Is(Match::Maybe),
                Part::Unknown => At::Is(self.unknown()),
                Part::Rewrites => At::May(Fate::Rewritten),
                Part::Takes => At::May(Fate::Taken),
                Part::Marks => {
                    self.frame.marks.write_anything();
                    At::Is(Match::Yes)
                }
                Part::Drops | Part::Queues => At::Verdict,
            },
            // What it is for, or bears, is another from here on.
            "mangle" => self.written(value, matches),
            // What passes for some frames only.
            "limit" | "quota" | "connlimit" | "ct count" | "meter" => At::Is(Match::Maybe),
            "set" | "map" if value.get("stmt").is_some() => At::Is(Match::Maybe),
            "accept" | "drop" | "reject" | "jump" | "goto" | "return" | "continue" | "queue" | "fwd" => At::Verdict,
            // A copy, or what is done to connections, which frames of our bridges are not of.
            "dup" | "masquerade" | "snat" | "flow" | "notrack" | "ct helper" | "ct timeout" | "ct expectation" => {
                At::Is(Match::Yes)
            }
            "counter" | "log" | "set" | "map" | "secmark" | "last" | "comment" | "reset" => At::Is(Match::Yes),
            // It goes elsewhere, or it cannot be said.
            _ => At::May(Fate::Taken),
        }
    }

    /// What it comes to that a part of the frame is written.
    fn written(&mut self, value: &Value, matches: Match) -> At {
        let key = value.get("key");
        let of = |word: &str, field: &str| key.and_then(|key| key.get(word)?.get(field)?.as_str());
        if let Some(payload) = key.and_then(|key| key.get("payload")) {
            let field = payload.get("field").and_then(Value::as_str);
            let harmless = field.is_some_and(|field| WRITABLE.contains(&field));
            return if harmless { At::Is(Match::Yes) } else { At::May(Fate::Rewritten) };
        }
        match of("meta", "key") {
            Some("mark") => {
                let surely = matches == Match::Yes && self.sure == Sure::Yes && !self.perhaps;
                self.marked(value.get("value").unwrap_or(&Value::Null), surely);
                At::Is(Match::Yes)
            }
            Some("pkttype" | "broute") => At::May(Fate::Taken),
            _ => At::Is(Match::Yes),
        }
    }

    fn marked(&mut self, value: &Value, surely: bool) {
        let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        match value {
            Value::Object(object) => {
                // `mark & MASK ^ VALUE`, as iptables and nft both write it.
                let pair = |word: &str, of: &Value| {
                    let [first, second] = of.get(word)?.as_array()?.as_slice() else { return None };
                    Some((first.clone(), number(second)?))
                };
                let of = Value::Object(object.clone());
                let is_mark = |left: &Value| left.get("meta").and_then(|meta| meta.get("key")) == Some(&"mark".into());
                let turned = pair("^", &of).or_else(|| pair("|", &of));
                let (left, value) = turned.unwrap_or((of, 0));
                match pair("&", &left) {
                    Some((left, kept)) if is_mark(&left) => self.frame.marks.write(value, !kept, surely),
                    None if is_mark(&left) => self.frame.marks.write(value, value, surely),
                    Some(_) | None => self.mark_of_somebody(&left),
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => match number(value)
            {
                Some(value) => self.frame.marks.write(value, u32::MAX, surely),
                None => self.frame.marks.write_anything(),
            },
        }
    }

    /// A mark that is written nowhere but in the frame, or in a map, which has it for those whom it names.
    fn mark_of_somebody(&mut self, value: &Value) {
        let key = value.get("map").and_then(|map| map.get("key")).unwrap_or(value);
        if !self.key(key).iter().any(|fact| matches!(fact, Fact::Strange | Fact::Absent)) {
            self.frame.marks.write_anything();
        }
    }

    /// A rule for marks that nobody has been seen to give lets nobody pass, as far as it is known.
    fn unmarked(&mut self, word: &str, value: &Value, rule: &Rule) {
        let marks = value.get("left").is_some_and(asks_mark);
        let drops = rule.parts.iter().any(|part| part.get("drop").is_some() || part.get("reject").is_some());
        if word == "match" && marks && self.may_be_marked() && !drops {
            self.sure = Sure::Likely;
        }
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
            "fwd" => End::Dropped(here(), Fate::Taken),
            "drop" | "reject" => End::Dropped(here(), Fate::Dropped),
            "xt" if extensions::part(value) == Part::Drops => End::Dropped(here(), Fate::Dropped),
            "accept" => End::Accepted,
            // Whoever takes it from the queue decides.
            "queue" | "xt" => {
                self.may((chain, rule.handle), Fate::Queued);
                self.sure = Sure::Likely;
                return None;
            }
            "return" => End::Through,
            "jump" | "goto" => {
                let target = value.get("target").and_then(Value::as_str).unwrap_or_default();
                let before = self.perhaps;
                self.perhaps |= matches != Match::Yes;
                let end = if depth == 0 { End::Through } else { self.chain(target, depth - 1) };
                self.perhaps = before;
                match end {
                    End::Through if word == "jump" => return None,
                    End::Accepted | End::Dropped(..) | End::Through => end,
                }
            }
            _ => return None,
        };
        if matches == Match::Yes {
            return Some(end);
        }
        match end {
            End::Dropped((chain, handle), fate) => self.may((&chain, handle), fate),
            End::Accepted | End::Through => self.sure = Sure::Likely,
        }
        None
    }

    /// A rule may drop the frame.
    fn may(&mut self, (chain, handle): (&str, u64), fate: Fate) {
        let rule = (chain.to_owned(), handle);
        if self.maybe.len() < MAYBE && !self.maybe.iter().any(|(known, _)| *known == rule) {
            self.maybe.push((rule, fate));
        }
    }

    /// What the frame has, for a comparison. What cannot be read names nobody who is not named.
    fn fact(&self, left: &Value) -> Fact {
        let fact = self.frame.fact(left);
        if self.frame.nobody && matches!(fact, Fact::Unknown) { Fact::Strange } else { fact }
    }

    /// What a map or a set is asked about.
    fn key(&self, key: &Value) -> Vec<Fact> {
        let parts = key.get("concat").and_then(Value::as_array).map(Vec::as_slice);
        parts.unwrap_or_else(|| std::slice::from_ref(key)).iter().map(|part| self.fact(part)).collect()
    }

    /// Somebody who cannot be read may have marked it.
    fn may_be_marked(&self) -> bool {
        self.frame.any && !self.frame.marks.is_certain()
    }

    fn matches(&self, value: &Value) -> Match {
        let (Some(left), Some(right)) = (value.get("left"), value.get("right")) else { return self.unknown() };
        let op = value.get("op").and_then(Value::as_str).unwrap_or("==");
        let facts = self.key(left);
        if facts.iter().any(|fact| matches!(fact, Fact::Absent)) {
            return Match::No;
        }
        let strange = facts.iter().any(|fact| matches!(fact, Fact::Strange));
        let named = right.as_str().and_then(|name| self.rules.sets.get(name.strip_prefix('@')?));
        match (op, named.map_or_else(|| are(&facts, right), |set| set.holds(&facts))) {
            // Who has marked a frame is not known for certain.
            ("==" | "in", Match::Yes) | ("!=", Match::No) if asks_mark(left) && self.may_be_marked() => Match::Maybe,
            ("==" | "in", equal) => equal,
            ("!=", Match::Yes) => Match::No,
            ("!=", Match::No) => Match::Yes,
            ("!=", Match::Maybe) => Match::Maybe,
            _ if strange => Match::No,
            _ => Match::Maybe,
        }
    }

    /// A map of verdicts. Err: nothing in it is surely about the frame, and what is behind is asked.
    fn mapped(
        &mut self,
        value: &Value,
        (chain, rule, depth): (&str, &Rule, u8),
        matches: Match,
    ) -> Result<Option<End>, At> {
        let facts = value.get("key").map(|key| self.key(key)).unwrap_or_default();
        let Some(pairs) = value.get("data").and_then(|data| data.get("set")).and_then(Value::as_array) else {
            self.sure = Sure::Likely;
            let of = |fact: &Fact| matches!(fact, Fact::Absent | Fact::Content | Fact::Strange);
            // Something in it may be about the frame all the same.
            let content = facts.iter().all(|fact| matches!(fact, Fact::Content));
            let about = facts.iter().any(|fact| !of(fact)) && !facts.iter().any(|fact| matches!(fact, Fact::Strange));
            if about && !content && !self.frame.nobody {
                self.may((chain, rule.handle), Fate::Dropped);
            }
            return Err(At::Is(Match::No));
        };
        for pair in pairs.iter().filter_map(Value::as_array) {
            let (Some(key), Some(verdict)) = (pair.first(), pair.get(1).and_then(Value::as_object)) else { continue };
            let one = if key == "*" { Match::Yes } else { are(&facts, key) };
            let Some((word, value)) = verdict.iter().next().filter(|_| one != Match::No) else { continue };
            let both = every([one, matches].into_iter());
            let end = self.verdict((word, value), chain, rule, both, depth);
            if one == Match::Yes || end.is_some() {
                return Ok(end);
            }
        }
        Err(At::Is(Match::No))
    }
}

/// Several parts of a frame, compared together.
pub(super) fn are(facts: &[Fact], right: &Value) -> Match {
    let right = right.get("elem").and_then(|element| element.get("val")).unwrap_or(right);
    if let [fact] = facts {
        return is(fact, right);
    }
    if let Some(all) = right.get("set").and_then(Value::as_array) {
        return some(all.iter().map(|element| are(facts, element)));
    }
    match right.get("concat").and_then(Value::as_array) {
        Some(values) => every(facts.iter().zip(values).map(|(fact, value)| is(fact, value))),
        // Nobody is in no set.
        None if facts.iter().any(|fact| matches!(fact, Fact::Strange)) => Match::No,
        None => Match::Maybe,
    }
}

/// True for a comparison of a mark.
fn asks_mark(left: &Value) -> bool {
    let left = left.get("&").and_then(|of| of.get(0)).unwrap_or(left);
    left.get("meta").and_then(|meta| meta.get("key")?.as_str()) == Some("mark")
}

#[cfg(test)]
#[path = "verdicts_tests.rs"]
mod tests;
