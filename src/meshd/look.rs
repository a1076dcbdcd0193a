//! Which interfaces and addresses carry: `[underlay]` of `meshd.toml` held against what the host has now.

use super::held::Held;
use crate::api::local::Finding;
use crate::api::problem::Problem;
use crate::config::meshd::{Attach, Config, UnderlayMtu};
use crate::linux::host;
use crate::linux::underlay::{self, Found, Wish};
use crate::node::plan::Local;
use crate::types::{IfName, Prefix, UdpPort};

/// This host as the plan wants to know it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// The sides that can be used, and `[mtu]`.
    pub local: Local,
    /// Where to stay.
    pub held: Held,
    /// The kernel could not be asked: nothing is known of the sides.
    pub unread: bool,
    /// Sides that cannot be used, and why. Never guessed: without its address a path is no path.
    pub findings: Vec<Finding>,
}

/// What is known of the sides before they are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Before {
    /// Where they were.
    pub held: Held,
    /// Prefixes of the PDC's underlay.
    pub inside: Vec<Prefix>,
}

/// Resolves both sides. A side that the file does not name is where its address was, or else the interface of the default route.
pub fn look(config: &Config, before: &Before) -> Host {
    // Read once for both.
    let interfaces = underlay::Host::read();
    let host = sides(config, before, host::default_route().as_ref(), |wanted, wish| match &interfaces {
        Ok(interfaces) => interfaces.resolve(wanted, wish).map_err(|error| Problem::from(&error)),
        Err(error) => Err(error.into()),
    });
    Host { unread: interfaces.is_err(), ..host }
}

fn sides(
    config: &Config,
    before: &Before,
    default: Option<&IfName>,
    resolve: impl Fn(&Attach, &Wish) -> Result<Found, Problem>,
) -> Host {
    let mut host = Host::default();
    host.local.mtu = config.mtu.policy();
    host.local.clamp_mss = config.mtu.clamp_mss;
    let lanes = config.underlay.lanes.count(super::lanes::cpus());
    let first = u64::from(config.underlay.listen.get());
    host.local.tunnel = (first..first + u64::from(lanes)).filter_map(|port| UdpPort::try_from(port).ok()).collect();
    host.held = before.held.clone();
    let sides = [
        ("admin", &config.underlay.admin, &mut host.local.admin, &mut host.held.admin),
        ("external", &config.underlay.external, &mut host.local.external, &mut host.held.external),
    ];
    for (name, written, side, held) in sides {
        // Of what is outside of the PDC nobody says where it has to be.
        let inside = if name == "admin" { before.inside.clone() } else { Vec::new() };
        let wish = Wish { held: held.address, inside };
        match one(written.as_ref(), default, held.interface.as_ref(), &wish, &resolve) {
            Ok(mut found) => {
                if let UnderlayMtu::Bytes(mtu) = config.mtu.underlay {
                    found.place.mtu = mtu.get();
                }
                held.interface = Some(found.place.interface.clone());
                held.address = if found.firm { Some(found.place.address) } else { held.address };
                *side = Some(found.place);
            }
            Err(problem) => {
                let mut finding = Finding::from(&problem);
                finding.what.insert_str(0, &format!("the {name} side of the underlay cannot be used: "));
                host.findings.push(finding);
            }
        }
    }
    host
}

/// One side. Where the file does not name it, another default route, of a VPN say, does not move it while it has an address where it was.
fn one(
    written: Option<&Attach>,
    default: Option<&IfName>,
    held: Option<&IfName>,
    wish: &Wish,
    resolve: &impl Fn(&Attach, &Wish) -> Result<Found, Problem>,
) -> Result<Found, Problem> {
    if let Some(written) = written {
        return resolve(written, wish);
    }
    if let Some(found) = held.and_then(|held| resolve(&Attach::Interface(held.clone()), wish).ok()) {
        return Ok(found);
    }
    match default {
        Some(default) => resolve(&Attach::Interface(default.clone()), wish),
        None => Err(Problem::new("M0633", crate::api::problem::Exit::Invalid, "this host has no default route")
            .help("name an interface or address in [underlay] of meshd.toml")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::problem::Exit;

    use crate::meshd::held::Side;
    use crate::node::plan::Underlay;

    /// A host with `eth0` and, of a VPN, `tun9`.
    fn with(underlay: &str, default: Option<&str>, held: Option<&str>) -> Host {
        let config = Config::parse("f", &format!("management = ['m:1']\n{underlay}")).unwrap();
        let default = default.map(|name| name.parse().unwrap());
        let side = Side { interface: held.map(|name| name.parse().unwrap()), address: None };
        let before = Before { held: Held { admin: side.clone(), external: side }, inside: Vec::new() };
        sides(&config, &before, default.as_ref(), |wanted, _| {
            let (interface, address) = match wanted.to_string().as_str() {
                "eth0" | "10.0.0.5" => ("eth0", "10.0.0.5"),
                "tun9" => ("tun9", "100.64.0.9"),
                other => return Err(Problem::new("M0630", Exit::Invalid, format!("there is no interface '{other}'"))),
            };
            let place =
                Underlay { interface: interface.parse().unwrap(), address: address.parse().unwrap(), mtu: 9000 };
            Ok(Found { place, firm: interface == "eth0" })
        })
    }

    #[test]
    fn another_default_route_does_not_move_a_node_that_has_an_address_where_it_was() {
        let at = |host: &Host| host.local.admin.as_ref().map(|side| side.interface.to_string());
        assert_eq!(at(&with("", Some("tun9"), Some("eth0"))).unwrap(), "eth0");
        assert_eq!(at(&with("", Some("tun9"), Some("eth7"))).unwrap(), "tun9", "where it was is nothing now");
        assert_eq!(at(&with("[underlay]\nadmin = 'tun9'", Some("eth0"), Some("eth0"))).unwrap(), "tun9", "written");
        let first = with("", Some("eth0"), None).held.admin;
        let eth0 = Side { interface: Some("eth0".parse().unwrap()), address: Some("10.0.0.5".parse().unwrap()) };
        assert_eq!(first, eth0);
        let weak = with("", Some("tun9"), None).held.admin;
        assert_eq!(weak, Side { interface: Some("tun9".parse().unwrap()), address: None }, "a better one may come");
    }

    #[test]
    fn what_is_not_named_is_the_default_routes_interface() {
        let host = with("[underlay]\nadmin = '10.0.0.5'", Some("eth0"), None);
        assert_eq!(host.local.admin, host.local.external);
        assert!(host.findings.is_empty());
        assert_eq!(with("", None, None).findings.len(), 2);
    }

    #[test]
    fn a_side_that_cannot_be_used_is_a_finding_and_never_a_guess() {
        let host = with("[underlay]\nadmin = 'eth9'", Some("eth0"), None);
        assert_eq!(host.local.admin, None);
        assert!(host.local.external.is_some());
        assert!(host.findings[0].what.contains("admin side") && host.findings[0].what.contains("'eth9'"));
    }

    #[test]
    fn the_file_may_know_the_mtu_better_than_the_interface() {
        let host = with("[mtu]\nunderlay = 1480", Some("eth0"), None);
        assert_eq!(host.local.admin.unwrap().mtu, 1480);
    }
}
