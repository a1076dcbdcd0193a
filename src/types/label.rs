//! Names of objects: DNS labels (RFC 1123 section 2.1), so that no name can be a path, an option or an escape sequence.

use std::fmt;
use std::str::FromStr;

/// A DNS label: 1 to 63 of `a-z`, `0-9`, `-`; starts and ends with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<str>);

/// Why a text is not a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Nothing was given.
    #[error("a name cannot be empty")]
    Empty,
    /// More than 63 bytes.
    #[error("a name has at most 63 characters, this one has {0}")]
    TooLong(usize),
    /// A character outside `a-z`, `0-9`, `-`.
    #[error("a name holds only a-z, 0-9 and '-'; {0:?} is none of them")]
    Character(char),
    /// Starts or ends with `-`.
    #[error("a name starts and ends with a letter or a digit, not with '-'")]
    Edge,
}

impl Label {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if text.is_empty() {
            return Err(LabelError::Empty);
        }
        if let Some(bad) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(LabelError::Character(bad));
        }
        if text.len() > 63 {
            return Err(LabelError::TooLong(text.len()));
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(LabelError::Edge);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

macro_rules! label_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Label);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }
        impl FromStr for $name {
            type Err = LabelError;
            fn from_str(text: &str) -> Result<Self, LabelError> {
                text.parse().map(Self)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        super::serde_as_text!($name);
    };
}

label_type!(
    /// Name of a node, unique in the mesh.
    NodeId
);
label_type!(
    /// Name of a physical datacenter.
    PdcId
);
label_type!(
    /// Name of an overlay (rule).
    OverlayId
);
label_type!(
    /// Name of a network.
    NetworkId
);
label_type!(
    /// Name of a port (vNIC), unique in the mesh.
    PortId
);
label_type!(
    /// Name of a path policy.
    PolicyId
);
