//! Which interfaces and addresses carry: `[underlay]` of `meshd.toml` held against what the host has now.

use crate::api::local::Finding;
use crate::api::problem::Problem;
use crate::config::meshd::{Attach, Config, UnderlayMtu};
use crate::linux::{host, underlay};
use crate::node::plan::{Local, Underlay};
use crate::types::{IfName, UdpPort};

/// This host as the plan wants to know it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// The sides that can be used, and `[mtu]`.
    pub local: Local,
    /// Sides that cannot be used, and why. Never guessed: without its address a path is no path.
    pub findings: Vec<Finding>,
}

/// Resolves both sides. A side that the file does not name is the interface of the default route.
pub fn look(config: &Config) -> Host {
    // Read once for both.
    let interfaces = underlay::Host::read();
    sides(config, host::default_route().as_ref(), |wanted| match &interfaces {
        Ok(interfaces) => interfaces.resolve(wanted).map_err(|error| Problem::from(&error)),
        Err(error) => Err(error.into()),
    })
}

fn sides(config: &Config, default: Option<&IfName>, resolve: impl Fn(&Attach) -> Result<Underlay, Problem>) -> Host {
    let mut host = Host::default();
    host.local.mtu = config.mtu.policy();
    host.local.clamp_mss = config.mtu.clamp_mss;
    let lanes = config.underlay.lanes.count(super::lanes::cpus());
    let first = u64::from(config.underlay.listen.get());
    host.local.tunnel = (first..first + u64::from(lanes)).filter_map(|port| UdpPort::try_from(port).ok()).collect();
    let sides = [
        ("admin", &config.underlay.admin, &mut host.local.admin),
        ("external", &config.underlay.external, &mut host.local.external),
    ];
    for (name, written, side) in sides {
        let resolved = match written.clone().or_else(|| default.cloned().map(Attach::Interface)) {
            Some(wanted) => resolve(&wanted),
            None => Err(Problem::new("M0633", crate::api::problem::Exit::Invalid, "this host has no default route")
                .help("name an interface or address in [underlay] of meshd.toml")),
        };
        match resolved {
            Ok(mut found) => {
                if let UnderlayMtu::Bytes(mtu) = config.mtu.underlay {
                    found.mtu = mtu.get();
                }
                *side = Some(found);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::problem::Exit;

    fn with(underlay: &str, default: Option<&str>) -> Host {
        let config = Config::parse("f", &format!("management = ['m:1']\n{underlay}")).unwrap();
        let default = default.map(|name| name.parse().unwrap());
        sides(&config, default.as_ref(), |wanted| match wanted.to_string().as_str() {
            "eth0" | "10.0.0.5" => {
                Ok(Underlay { interface: "eth0".parse().unwrap(), address: "10.0.0.5".parse().unwrap(), mtu: 9000 })
            }
            other => Err(Problem::new("M0630", Exit::Invalid, format!("there is no interface '{other}'"))),
        })
    }

    #[test]
    fn what_is_not_named_is_the_default_routes_interface() {
        let host = with("[underlay]\nadmin = '10.0.0.5'", Some("eth0"));
        assert_eq!(host.local.admin, host.local.external);
        assert!(host.findings.is_empty());
        assert_eq!(with("", None).findings.len(), 2);
    }

    #[test]
    fn a_side_that_cannot_be_used_is_a_finding_and_never_a_guess() {
        let host = with("[underlay]\nadmin = 'eth9'", Some("eth0"));
        assert_eq!(host.local.admin, None);
        assert!(host.local.external.is_some());
        assert!(host.findings[0].what.contains("admin side") && host.findings[0].what.contains("'eth9'"));
    }

    #[test]
    fn the_file_may_know_the_mtu_better_than_the_interface() {
        let host = with("[mtu]\nunderlay = 1480", Some("eth0"));
        assert_eq!(host.local.admin.unwrap().mtu, 1480);
    }
}
