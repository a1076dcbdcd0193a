//! Names of Linux network interfaces.

use std::fmt;
use std::str::FromStr;

/// 1 to 15 bytes (`IFNAMSIZ` - 1) of printable ASCII other than `/`, `:` and white space; not `.` or `..`
/// (`dev_valid_name`, net/core/dev.c).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName(Box<str>);

/// Why a text is not an interface name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an interface name (1 to 15 characters, no '/', ':' or white space)")]
pub struct IfNameError(String);

impl IfName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True where no shell reads anything else into it, so that it can stand in a command as it is. The kernel lets a name hold `;` and `$`.
    pub fn is_plain(&self) -> bool {
        let plain =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@' | b'+' | b',' | b'=' | b'%');
        self.0.bytes().all(plain) && !self.0.starts_with('-')
    }
}

impl FromStr for IfName {
    type Err = IfNameError;

    fn from_str(text: &str) -> Result<Self, IfNameError> {
        let fits = (1..=15).contains(&text.len()) && text != "." && text != "..";
        if fits && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':') {
            Ok(Self(text.into()))
        } else {
            Err(IfNameError(text.chars().take(40).collect()))
        }
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

super::serde_as_text!(IfName);
