//! What a port may do besides being a guest.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// One role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortRole {
    /// Nothing besides.
    #[default]
    Guest,
    /// Send router advertisements and redirects, and packets of others that it routes.
    Router,
    /// Answer DHCP.
    Dhcp,
}

/// Any of the roles: a machine may route and answer DHCP.
///
/// Written as a list. Read from a list, in which what another version knows and this one does not is left out, or from one word, as people
/// have written it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Roles {
    router: bool,
    dhcp: bool,
}

impl PortRole {
    /// As manifests write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Router => "router",
            Self::Dhcp => "dhcp",
        }
    }
}

impl Roles {
    /// True where it has this one; everybody is a guest.
    pub const fn has(self, role: PortRole) -> bool {
        match role {
            PortRole::Guest => true,
            PortRole::Router => self.router,
            PortRole::Dhcp => self.dhcp,
        }
    }

    /// True where it may do nothing besides.
    pub fn is_guest(&self) -> bool {
        *self == Self::default()
    }

    /// What both have.
    #[must_use]
    pub const fn both(self, other: Self) -> Self {
        Self { router: self.router && other.router, dhcp: self.dhcp && other.dhcp }
    }

    /// Each, but that of a guest.
    pub fn iter(self) -> impl Iterator<Item = PortRole> {
        [PortRole::Router, PortRole::Dhcp].into_iter().filter(move |role| self.has(*role))
    }
}

impl From<PortRole> for Roles {
    fn from(role: PortRole) -> Self {
        Self { router: role == PortRole::Router, dhcp: role == PortRole::Dhcp }
    }
}

impl FromIterator<PortRole> for Roles {
    fn from_iter<I: IntoIterator<Item = PortRole>>(roles: I) -> Self {
        roles.into_iter().fold(Self::default(), |all, role| {
            let one = Self::from(role);
            Self { router: all.router || one.router, dhcp: all.dhcp || one.dhcp }
        })
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_guest() {
            return f.pad(PortRole::Guest.word());
        }
        f.pad(&self.iter().map(PortRole::word).collect::<Vec<_>>().join(","))
    }
}

impl Serialize for Roles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Roles;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("guest, router or dhcp, or a list of them")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Roles, E> {
        PortRole::deserialize(StrDeserializer::new(word)).map(Roles::from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Roles, A::Error> {
        let mut roles = Vec::new();
        while let Some(role) = list.next_element::<PortRole>()? {
            roles.push(role);
        }
        Ok(roles.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn one_word_and_a_list_are_read_and_a_list_is_written() {
        let both: Roles = [PortRole::Router, PortRole::Dhcp].into_iter().collect();
        for (text, roles, written, shown) in [
            (json!("guest"), Roles::default(), json!([]), "guest"),
            (json!("router"), PortRole::Router.into(), json!(["router"]), "router"),
            (json!([]), Roles::default(), json!([]), "guest"),
            (json!(["dhcp"]), PortRole::Dhcp.into(), json!(["dhcp"]), "dhcp"),
            (json!(["dhcp", "guest", "router", "dhcp"]), both, json!(["router", "dhcp"]), "router,dhcp"),
        ] {
            assert_eq!(serde_json::from_value::<Roles>(text.clone()).unwrap(), roles, "{text}");
            assert_eq!((serde_json::to_value(roles).unwrap(), roles.to_string().as_str()), (written, shown));
        }
        for bad in [json!("king"), json!(["router", "king"]), json!(1), json!({"router": true}), Value::Null] {
            assert!(serde_json::from_value::<Roles>(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_two_have_in_common_is_what_both_have() {
        let of = |roles: &[PortRole]| roles.iter().copied().collect::<Roles>();
        let (router, both) = (of(&[PortRole::Router]), of(&[PortRole::Router, PortRole::Dhcp]));
        assert_eq!(both.both(router), router);
        assert_eq!(router.both(of(&[PortRole::Dhcp])), Roles::default());
        assert!(both.has(PortRole::Dhcp) && !router.has(PortRole::Dhcp) && router.has(PortRole::Guest));
    }
}
