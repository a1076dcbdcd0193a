//! Lookups of the per-packet path: a hash map with a fixed hasher that can be asked and built, but not iterated.
//!
//! Keys come from the management node's table, never from the wire, so nobody outside can choose colliding ones; an unknown
//! frame only ever asks.
#![expect(clippy::disallowed_types, reason = "asked once a frame, never iterated, fixed hasher")]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// From small integer keys to values.
#[derive(Debug, Clone)]
pub(super) struct Lookup<K, V>(HashMap<K, V, BuildHasherDefault<Mix>>);

impl<K: Eq + Hash, V> Default for Lookup<K, V> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Eq + Hash, V> Lookup<K, V> {
    /// The value of a key.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    /// Adds a key unless it is there: the first one wins. Returns true if it was added.
    pub(super) fn add(&mut self, key: K, value: V) -> bool {
        let free = !self.0.contains_key(&key);
        if free {
            self.0.insert(key, value);
        }
        free
    }
}

/// A multiplicative hasher for integers: one rotate, one xor and one multiply a word, and a last fold because the map takes
/// its group from the top bits and its bucket from the low ones.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mix(u64);

/// 2^64 divided by the golden ratio, odd: consecutive keys land far apart (Knuth, TAOCP volume 3, section 6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(GOLDEN);
    }
}
