//! Which interfaces and addresses carry: `[underlay]` of `meshd.toml` against what the host has.

use std::net::IpAddr;

use super::plan::{Local, Underlay};
use crate::api::local::Finding;
use crate::config::meshd::{Attach, Config, UnderlayMtu};
use crate::types::{IfName, Mtu};

/// An interface of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: IfName,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its global addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
}

/// This host as the plan wants to know it, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attached {
    /// The sides that can be used, and `[mtu]`.
    pub local: Local,
    /// Sides that cannot be used, and why.
    pub findings: Vec<Finding>,
}

/// Resolves both sides. A side that the file does not name is the interface of the default route.
pub fn attach(config: &Config, interfaces: &[Interface], default_route: Option<&IfName>) -> Attached {
    let mut attached = Attached::default();
    attached.local.mtu = config.mtu.policy();
    let sides = [
        ("admin", &config.underlay.admin, &mut attached.local.admin),
        ("external", &config.underlay.external, &mut attached.local.external),
    ];
    for (side, wanted, slot) in sides {
        let default = || default_route.cloned().map(Attach::Interface);
        let resolved = match wanted.clone().or_else(default) {
            Some(wanted) => resolve(&wanted, interfaces, config.mtu.underlay),
            None => Err("it is not named and this host has no default route".to_owned()),
        };
        match resolved {
            Ok(underlay) => *slot = Some(underlay),
            Err(why) => attached.findings.push(unusable(side, &why)),
        }
    }
    attached
}

fn resolve(wanted: &Attach, interfaces: &[Interface], mtu: UnderlayMtu) -> Result<Underlay, String> {
    let (interface, address) = match wanted {
        Attach::Interface(name) => {
            let interface = interfaces.iter().find(|i| i.name == *name);
            let interface = interface.ok_or_else(|| format!("this host has no interface '{name}'"))?;
            let address = interface.addresses.first().copied();
            (interface, address.ok_or_else(|| format!("interface '{name}' has no global address"))?)
        }
        Attach::Address(address) => {
            let interface = interfaces.iter().find(|i| i.addresses.contains(address));
            (interface.ok_or_else(|| format!("no interface of this host has the address {address}"))?, *address)
        }
    };
    let mtu = match mtu {
        UnderlayMtu::Bytes(mtu) => mtu,
        // An interface may carry more than an IP packet can be large (the loopback does).
        UnderlayMtu::Interface => Mtu::try_from(u64::from(interface.mtu).min(Mtu::MAX))
            .map_err(|error| format!("interface '{}': {error}", interface.name))?,
    };
    Ok(Underlay { interface: interface.name.clone(), address, mtu: mtu.get() })
}

fn unusable(side: &str, why: &str) -> Finding {
    Finding {
        code: "M0605".into(),
        what: format!("the {side} side of the underlay cannot be used: {why}"),
        help: format!("check {side} = in [underlay] of meshd.toml, and: ip address"),
    }
}

#[cfg(test)]
#[path = "attach_tests.rs"]
mod tests;
