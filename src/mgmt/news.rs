//! What nodes find wrong, as events: that it began and that it ended, once for all nodes that say the same. What comes and goes again and again is
//! told some times and then counted, until it has been calm for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::told::{names, on_nodes};
use crate::api::local::Finding;
use crate::types::{Mono, NodeId};

/// How often the same is told within [`CALM`].
const TOLD: u32 = 3;
/// How long something is remembered after it has ended.
const CALM: Duration = Duration::from_secs(600);
/// Stands between the parts of a sentence, as of what helps.
const BETWEEN: &str = "; ";
/// Different things that are remembered.
const MOST: usize = 4096;

/// What one node says, and whether it is there to say it.
#[derive(Debug, Clone)]
pub struct Says {
    /// The node.
    pub node: NodeId,
    /// False: it is away, and what it said last is neither so nor over.
    pub here: bool,
    /// What it finds wrong.
    pub findings: Vec<Finding>,
}

/// Something to note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The first of the nodes that say it, on whose account it is.
    pub node: NodeId,
    /// `problem` or `solved`.
    pub what: &'static str,
    /// One sentence.
    pub text: String,
}

/// Code, and what it is about: the same in other words is no other problem.
type Key = (String, String);

fn key(finding: &Finding) -> Key {
    let about = match &finding.cut {
        Some(cut) if !(cut.networks.is_empty() && cut.peers.is_empty() && cut.guests.is_empty()) => {
            format!("{:?} {:?} {:?} {:?}", cut.path, cut.networks, cut.peers, cut.guests)
        }
        Some(_) | None => finding.what.clone(),
    };
    (finding.code.clone(), about)
}

#[derive(Debug, Default)]
struct Entry {
    what: String,
    help: String,
    /// The words in which it was told.
    said: String,
    nodes: BTreeSet<NodeId>,
    /// The words of each of them, and what it says helps.
    words: BTreeMap<NodeId, [String; 2]>,
    /// Who has said it when it was told last.
    named: BTreeSet<NodeId>,
    /// The words at the look before; none: it was not there.
    stood: Option<String>,
    /// It was told and is not over.
    told: bool,
    /// How often it has begun.
    times: u32,
    /// Since when nobody says it.
    over: Option<Mono>,
}

/// What is known so far.
#[derive(Debug, Default)]
pub struct News(BTreeMap<Key, Entry>);

impl News {
    /// Compares what all nodes say now with what they said before. What stands at two looks is told.
    pub fn look(&mut self, says: &[Says], now: Mono) -> Vec<Item> {
        let here: BTreeSet<&NodeId> = says.iter().filter(|says| says.here).map(|says| &says.node).collect();
        let known: BTreeSet<&NodeId> = says.iter().map(|says| &says.node).collect();
        for entry in self.0.values_mut() {
            entry.nodes.retain(|node| known.contains(node) && !here.contains(node));
            entry.words.retain(|node, _| known.contains(node) && !here.contains(node));
        }
        for Says { node, findings, .. } in says.iter().filter(|says| says.here) {
            for finding in findings {
                let key = key(finding);
                if self.0.contains_key(&key) || self.0.len() < MOST {
                    let entry = self.0.entry(key).or_default();
                    entry.nodes.insert(node.clone());
                    entry.words.insert(node.clone(), [finding.what.clone(), finding.help.clone()]);
                }
            }
        }
        self.0.values_mut().for_each(Entry::join);
        let items = self.0.iter_mut().filter_map(|(key, entry)| entry.step(key, now)).collect();
        self.0.retain(|_, entry| entry.over.is_none_or(|since| now.since(since) < CALM && entry.times > 0));
        items
    }
}

/// What several nodes say alike, by the parts of their sentences; where that is nothing, what the first says.
fn alike<'a>(all: impl Iterator<Item = &'a str> + Clone) -> String {
    let parts = |text: &'a str| text.split(BETWEEN);
    let Some(first) = all.clone().next() else { return String::new() };
    let common: Vec<&str> =
        parts(first).filter(|part| all.clone().all(|other| parts(other).any(|of| of == *part))).collect();
    if common.is_empty() { first.to_owned() } else { common.join(BETWEEN) }
}

impl Entry {
    /// Joins the words of all who say it. Once nobody does, the last are kept.
    fn join(&mut self) {
        if !self.words.is_empty() {
            self.what = alike(self.words.values().map(|[what, _]| what.as_str()));
            self.help = alike(self.words.values().map(|[_, help]| help.as_str()));
        }
    }

    fn step(&mut self, (code, _): &Key, now: Mono) -> Option<Item> {
        let what = &self.what;
        if let Some(node) = self.nodes.first() {
            self.over = None;
            let stood = self.stood.replace(what.clone());
            if stood.as_ref() != Some(what) || self.told && self.said == *what {
                return None;
            }
            self.said.clone_from(what);
            (self.told, self.times) = (true, self.times.saturating_add(1));
            self.named = self.nodes.clone();
            if self.times > TOLD {
                return None;
            }
            let (who, help) = (names(&self.nodes.iter().collect::<Vec<_>>()), &self.help);
            let last = if self.times == TOLD { "; it comes and goes, and is counted from now on" } else { "" };
            let text = format!("[{code}] {who}: {what}; {}{last}", on_nodes(help));
            return Some(Item { node: node.clone(), what: "problem", text });
        }
        self.stood = None;
        let over = *self.over.get_or_insert(now);
        let who = names(&self.named.iter().collect::<Vec<_>>());
        let node = self.named.first().cloned()?;
        let item = |text: String| Some(Item { node, what: "solved", text });
        if std::mem::replace(&mut self.told, false) && self.times <= TOLD {
            return item(format!("[{code}] {who}: {}", self.said));
        }
        if self.times > TOLD && now.since(over) >= CALM {
            return item(format!("[{code}] {who}: {what}; it came {} times", self.times));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(node: &str, here: bool, what: &[&str]) -> Says {
        let finding = |what: &&str| Finding::new("M0410", (*what).to_owned(), "meshctl tunnel list");
        Says { node: node.parse().unwrap(), here, findings: what.iter().map(finding).collect() }
    }

    #[test]
    fn what_several_nodes_say_of_the_same_peer_keeps_what_holds_for_all_of_them() {
        use crate::api::cut::Cut;
        use crate::policy::path::Path;
        let peer: NodeId = "b-1".parse().unwrap();
        let says = |node: &str, by: &str| {
            let what = format!("the tunnel to b-1 is down; packets to 198.18.2.1 leave by {by}");
            let finding = Finding::new("M0410", what, "ip route get 198.18.2.1; meshctl tunnel list");
            let findings = vec![finding.cuts(Cut::peers(true, Path::Tunnel, [&peer]))];
            Says { node: node.parse().unwrap(), here: true, findings }
        };
        let same = [says("a-1", "eth0 via 10.0.0.1"), says("a-2", "eth0 via 10.0.0.1")];
        let other = [says("a-1", "eth0 via 10.0.0.1"), says("a-2", "ext0 via 10.7.0.1")];
        for (all, ends) in [
            (&same, "is down; packets to 198.18.2.1 leave by eth0 via 10.0.0.1; on the node itself: ip route get"),
            (&other, "(a-1, a-2): the tunnel to b-1 is down; on the node itself: ip route get 198.18.2.1; meshctl"),
        ] {
            let mut news = News::default();
            assert_eq!(told(&mut news, all, 0), [""; 0]);
            let said = told(&mut news, all, 1);
            assert!(said.len() == 1 && said[0].contains(ends), "{said:?}");
            let said = told(&mut news, &[], 2);
            assert!(said.len() == 1 && said[0].contains("2 nodes (a-1, a-2): the tunnel to b-1 is down"), "{said:?}");
        }
    }

    const fn at(secs: u64) -> Mono {
        Mono::from_nanos(secs * 1_000_000_000)
    }

    fn told(news: &mut News, says: &[Says], now: u64) -> Vec<String> {
        news.look(says, at(now)).into_iter().map(|item| format!("{} {}", item.what, item.text)).collect()
    }

    #[test]
    fn what_begins_and_ends_is_told_once_for_all_that_say_it_and_a_moment_is_not() {
        let mut news = News::default();
        let down = ["the tunnel is down"];
        let both = [says("a-1", true, &down), says("a-2", true, &down)];
        let calm = [says("a-1", true, &[]), says("a-2", true, &[])];
        assert!(told(&mut news, &both, 0).is_empty(), "it may be a moment");
        let text = "problem [M0410] 2 nodes (a-1, a-2): the tunnel is down; on the node itself: meshctl tunnel list";
        assert_eq!(told(&mut news, &both, 5), [text]);
        assert!(told(&mut news, &both, 10).is_empty(), "once");
        let one = [says("a-1", true, &down), says("a-2", true, &[])];
        assert!(told(&mut news, &one, 15).is_empty(), "it is so still");
        let away = [says("a-1", false, &[]), says("a-2", true, &[])];
        assert!(told(&mut news, &away, 20).is_empty(), "who is away has not said that it is over");
        assert_eq!(told(&mut news, &calm, 25), ["solved [M0410] 2 nodes (a-1, a-2): the tunnel is down"]);
        assert!(told(&mut news, &both, 30).is_empty() && told(&mut news, &calm, 35).is_empty(), "a moment");
        let other = [says("a-2", true, &down)];
        assert!(told(&mut news, &other, 40).is_empty());
        assert_eq!(told(&mut news, &other, 45).len(), 1);
        assert_eq!(told(&mut news, &[], 50).len(), 1, "a node that was removed says nothing any more");
    }

    #[test]
    fn the_same_in_other_words_is_told_and_is_not_over_in_between() {
        use crate::api::cut::Cut;
        use crate::policy::path::Path;
        let mut news = News::default();
        let peer = "b-1".parse().unwrap();
        let says = |what: &str| {
            let finding = Finding::new("M0410", what.to_owned(), "").cuts(Cut::peers(true, Path::Tunnel, [&peer]));
            [Says { node: "a-1".parse().unwrap(), here: true, findings: vec![finding] }]
        };
        let mut all = Vec::new();
        for (second, what) in [(0, "silent"), (5, "silent"), (10, "nothing arrives"), (15, "nothing arrives")] {
            all.extend(told(&mut news, &says(what), second));
        }
        all.extend(told(&mut news, &[Says { findings: Vec::new(), ..says("")[0].clone() }], 20));
        let kinds: Vec<&str> = all.iter().map(|text| text.split(' ').next().unwrap()).collect();
        assert_eq!(kinds, ["problem", "problem", "solved"], "{all:?}");
        assert!(all[2].ends_with("nothing arrives"), "{all:?}");
    }

    #[test]
    fn what_comes_and_goes_for_hours_is_told_three_times_and_counted() {
        let mut news = News::default();
        let (down, calm) = ([says("a-1", true, &["it is down"])], [says("a-1", true, &[])]);
        let mut all = Vec::new();
        for round in 0..200 {
            for (second, said) in [(0, &down), (5, &down), (10, &calm), (15, &calm)] {
                all.extend(told(&mut news, said, round * 20 + second));
            }
        }
        assert_eq!(all.len(), 6, "{all:?}");
        assert!(all[4].ends_with("counted from now on"), "{all:?}");
        let rest = (0..200).flat_map(|look| told(&mut news, &calm, 4000 + look * 5)).collect::<Vec<_>>();
        assert_eq!(rest, ["solved [M0410] node a-1: it is down; it came 200 times"]);
    }

    #[test]
    fn what_hostile_nodes_invent_is_bounded() {
        let mut news = News::default();
        for look in 0..100 {
            let texts: Vec<String> = (0..100).map(|n| format!("{look} {n}")).collect();
            news.look(&[says("a-1", true, &texts.iter().map(String::as_str).collect::<Vec<_>>())], at(look * 5));
        }
        assert!(news.0.len() <= MOST);
    }
}
