//! Patterns of names: where an operator speaks of nodes that need not exist yet.

use std::fmt;
use std::str::FromStr;

/// Most bytes of a pattern, as of a name.
const BYTES_MAX: usize = 63;

/// A pattern of names: `a-z`, `0-9`, `-` and `*`, which stands for any run of characters, also none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamePattern(Box<str>);

/// Why a text is no pattern of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern of names has 1 to {BYTES_MAX} of a-z, 0-9, '-' and '*'")]
pub struct NamePatternError;

impl NamePattern {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True where it is one name: it can stand for no other.
    pub fn is_name(&self) -> bool {
        !self.0.contains('*')
    }

    /// Does a name fit?
    pub fn fits(&self, name: &str) -> bool {
        name_fits(&self.0, name)
    }
}

/// Does `name` fit `pattern`? `*` stands for any run of characters, also none.
pub fn name_fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl FromStr for NamePattern {
    type Err = NamePatternError;

    fn from_str(text: &str) -> Result<Self, NamePatternError> {
        let plain = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'*'));
        if text.is_empty() || text.len() > BYTES_MAX || !plain { Err(NamePatternError) } else { Ok(Self(text.into())) }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

super::serde_as_text!(NamePattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_of_names_and_may_be_one() {
        for bad in ["", "A", "a b", "a/b", "a.b", &"x".repeat(64), "\u{430}"] {
            assert_eq!(bad.parse::<NamePattern>(), Err(NamePatternError), "{bad:?}");
        }
        let fits = |pattern: &str, name| pattern.parse::<NamePattern>().unwrap().fits(name);
        assert!(fits("*", "a-1") && fits("a-*", "a-1") && fits("a-1", "a-1") && fits("*-1", "a-1"));
        assert!(!fits("a-*", "b-1") && !fits("a-1", "a-11") && !fits("*-1", "a-12"));
        assert!("a-1".parse::<NamePattern>().unwrap().is_name() && !"a-*".parse::<NamePattern>().unwrap().is_name());
    }
}
