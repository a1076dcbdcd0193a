//! Where a node stays while it can, over restarts: file `underlay` in the state folder, a line a side with the interface and, where there is one
//! to stay with, the address. Whatever in it is no such line does not count, and without the file the first look decides.

use std::net::IpAddr;
use std::path::Path;

use crate::linux::file;
use crate::types::IfName;

/// File in the state folder.
pub const UNDERLAY: &str = "underlay";

/// Both sides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Towards the nodes of its PDC.
    pub admin: Side,
    /// Towards other PDCs.
    pub external: Side,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Side {
    /// The interface that it was found at.
    pub interface: Option<IfName>,
    /// Its last address that was good enough to stay with.
    pub address: Option<IpAddr>,
}

impl Held {
    /// What is on disk.
    pub fn read(state: &Path) -> Self {
        let text = std::fs::read_to_string(state.join(UNDERLAY)).unwrap_or_default();
        let side = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let interface = words.next().and_then(|word| word.parse().ok());
            Side { interface, address: words.next().and_then(|word| word.parse().ok()) }
        };
        Self { admin: side("admin"), external: side("external") }
    }

    /// Takes `new` and writes it down where it is another. What cannot be written is known until the next restart.
    pub fn keep(&mut self, new: Self, state: &Path) {
        if *self == new {
            return;
        }
        let line = |name: &str, side: &Side| {
            let Some(interface) = &side.interface else { return String::new() };
            let address = side.address.map(|address| format!(" {address}")).unwrap_or_default();
            format!("{name} {interface}{address}\n")
        };
        let text = line("admin", &new.admin) + &line("external", &new.external);
        *self = new;
        if let Err(error) = file::write(&state.join(UNDERLAY), text.as_bytes(), 0o600) {
            tracing::warn!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_there_after_a_restart_and_anything_else_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Held::read(folder.path()), Held::default());
        let side = |name: &str, address: Option<&str>| Side {
            interface: name.parse().ok(),
            address: address.map(|address| address.parse().unwrap()),
        };
        for external in [side("", None), side("ppp0", None), side("eth1", Some("2001:db8::5"))] {
            let both = Held { admin: side("eth0", Some("10.0.0.5")), external };
            let mut held = Held::default();
            held.keep(both.clone(), folder.path());
            assert_eq!((&held, &Held::read(folder.path())), (&both, &both));
        }
        for damaged in ["", "admin", "admin \nexternal", "\0\0", "adminx eth0 10.0.0.5\n eth0 10.0.0.5"] {
            std::fs::write(folder.path().join(UNDERLAY), damaged).unwrap();
            assert_eq!(Held::read(folder.path()), Held::default(), "{damaged:?}");
        }
    }
}
