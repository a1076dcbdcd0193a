//! What management knows of peers, as it is told of a fault: the first word counts at once, and another one only after it has stood for a while. One
//! fault is seen by many nodes one after the other, and each of them changes what is known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::api::stream::PeerWord;
use crate::types::{Mono, NodeId};

/// How long another word has to stand.
const STANDS: Duration = Duration::from_secs(6);

/// What is known of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    told: Option<PeerWord>,
    /// What management says since.
    newest: (Option<PeerWord>, Mono),
}

/// What is known of all peers of which something is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled(BTreeMap<NodeId, Word>);

impl Word {
    fn at(&self, now: Mono) -> Option<&PeerWord> {
        let (newest, since) = &self.newest;
        if now.since(*since) >= STANDS { newest.as_ref() } else { self.told.as_ref() }
    }
}

impl Settled {
    /// Takes all that management knows now.
    pub fn learn(&mut self, words: Vec<PeerWord>, now: Mono) {
        let mut new: BTreeMap<NodeId, PeerWord> = words.into_iter().map(|word| (word.node.clone(), word)).collect();
        let mut old = std::mem::take(&mut self.0);
        let nodes: BTreeSet<NodeId> = old.keys().chain(new.keys()).cloned().collect();
        for node in nodes {
            let (word, before) = (new.remove(&node), old.remove(&node));
            let told = before.as_ref().and_then(|before| before.at(now)).or(word.as_ref()).cloned();
            let since = before.filter(|before| before.newest.0 == word).map_or(now, |before| before.newest.1);
            if told.is_some() {
                self.0.insert(node, Word { told, newest: (word, since) });
            }
        }
    }

    /// What is told of a peer.
    pub fn get(&self, node: &NodeId, now: Mono) -> Option<&PeerWord> {
        self.0.get(node)?.at(now)
    }

    /// The same of all.
    pub fn all(&self, now: Mono) -> BTreeMap<NodeId, PeerWord> {
        self.0.iter().filter_map(|(node, word)| Some((node.clone(), word.at(now)?.clone()))).collect()
    }

    /// Nothing is known any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos((1000 + seconds) * 1_000_000_000)
    }

    fn word(away: bool, missed: bool) -> PeerWord {
        let node = "b-1".parse().unwrap();
        PeerWord { node, away, line: None, plain: None, missed, one_way: false }
    }

    #[test]
    fn the_first_word_counts_at_once_and_another_one_when_it_has_stood() {
        let (missed, away): (PeerWord, PeerWord) = (word(false, true), word(true, true));
        let node = missed.node.clone();
        let mut words = Settled::default();
        assert!(words.get(&node, at(0)).is_none());
        words.learn(vec![missed.clone()], at(0));
        assert_eq!(words.get(&node, at(0)), Some(&missed));
        // To and fro changes nothing.
        for second in 1..20 {
            words.learn(vec![if second % 2 == 0 { missed.clone() } else { away.clone() }], at(second));
            assert_eq!(words.get(&node, at(second)), Some(&missed), "{second}");
        }
        words.learn(vec![away.clone()], at(20));
        words.learn(vec![away.clone()], at(23));
        assert_eq!(words.get(&node, at(24)), Some(&missed));
        assert_eq!(words.get(&node, at(26)), Some(&away));
        assert_eq!(words.all(at(26)), [(node.clone(), away)].into());
        // So does its end.
        words.learn(Vec::new(), at(30));
        assert!(words.get(&node, at(35)).is_some() && words.get(&node, at(36)).is_none());
        words.learn(Vec::new(), at(40));
        assert_eq!(words, Settled::default());
        words.learn(vec![missed.clone()], at(50));
        assert_eq!(words.get(&node, at(50)), Some(&missed));
    }
}
