//! Keys of the table. The ancestor keyed its table by MAC per overlay, so two tenants with one MAC got each other's
//! answers; here VNI and VLAN are part of every key.

use std::fmt;
use std::str::FromStr;

use crate::types::{Mac, OverlayId, Vlan, Vni};

/// (overlay, VNI): one network. Text form `overlay/vni`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetKey {
    /// Its overlay.
    pub overlay: OverlayId,
    /// Its VNI, unique in the overlay.
    pub vni: Vni,
}

/// (overlay, VNI, VLAN or none, MAC). Text form `overlay/vni/vlan/mac` with `-` for no VLAN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// Its overlay.
    pub overlay: OverlayId,
    /// Its VNI.
    pub vni: Vni,
    /// The guest's own 802.1Q tag, if the row is for tagged frames.
    pub vlan: Option<Vlan>,
    /// The guest's address.
    pub mac: Mac,
}

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a table key (like {form}): {why}")]
pub struct KeyTextError {
    text: String,
    form: &'static str,
    why: String,
}

impl RowKey {
    /// The smallest key that a row of `net` can have.
    pub fn first_of(net: &NetKey) -> Self {
        Self { overlay: net.overlay.clone(), vni: net.vni, vlan: None, mac: Mac::ZERO }
    }

    /// True where the row belongs to `net`.
    pub fn is_in(&self, net: &NetKey) -> bool {
        self.vni == net.vni && self.overlay == net.overlay
    }

    /// The network it belongs to.
    pub fn net(&self) -> NetKey {
        NetKey { overlay: self.overlay.clone(), vni: self.vni }
    }
}

impl fmt::Display for NetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.overlay, self.vni)
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/", self.overlay, self.vni)?;
        match self.vlan {
            Some(vlan) => write!(f, "{vlan}/{}", self.mac),
            None => write!(f, "-/{}", self.mac),
        }
    }
}

/// One part of a key, or what is wrong with it.
fn part<T: FromStr<Err: fmt::Display>>(parts: &mut std::str::Split<'_, char>, what: &str) -> Result<T, String> {
    let text = parts.next().ok_or_else(|| format!("no {what}"))?;
    text.parse().map_err(|e: T::Err| e.to_string())
}

/// A whole key: `read` takes its parts, and nothing may be left.
fn whole<T>(
    text: &str,
    form: &'static str,
    read: impl FnOnce(&mut std::str::Split<'_, char>) -> Result<T, String>,
) -> Result<T, KeyTextError> {
    let mut parts = text.split('/');
    read(&mut parts)
        .and_then(|key| if parts.next().is_none() { Ok(key) } else { Err("too many parts".to_owned()) })
        .map_err(|why| KeyTextError { text: text.chars().take(120).collect(), form, why })
}

impl FromStr for NetKey {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        whole(text, "default/10", |parts| Ok(Self { overlay: part(parts, "overlay")?, vni: part(parts, "VNI")? }))
    }
}

impl FromStr for RowKey {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        whole(text, "default/10/-/02:08:20:0a:00:07", |parts| {
            Ok(Self {
                overlay: part(parts, "overlay")?,
                vni: part(parts, "VNI")?,
                vlan: match part::<String>(parts, "VLAN")?.as_str() {
                    "-" => None,
                    tag => Some(tag.parse().map_err(|e: crate::types::NumberError| e.to_string())?),
                },
                mac: part(parts, "MAC")?,
            })
        })
    }
}

crate::types::serde_as_text!(NetKey);
crate::types::serde_as_text!(RowKey);
