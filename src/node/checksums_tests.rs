use serde_json::json;

use super::*;
use crate::linux::fake::Fake;
use crate::node::desired::{Desired, Kind, Link, Port, PortFlags};
use crate::node::plan::tests::{local, planned, slice};
use crate::node::reconcile::{cleanup, conflicts, diff};

const BRIDGE: &str = "vb10.12b5";

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// A guest's interface on a bridge.
fn on(bridge: &str) -> Link {
    let flags = PortFlags { isolated: false, ..crate::linux::fake::NEW_PORT };
    let port = Some(Port { bridge: name(bridge), flags });
    Link { kind: Kind::Other("veth".into()), alias: None, mtu: 1500, up: true, no_addresses: false, port }
}

/// A kernel with our network, and guests on our bridge and on another.
fn kernel(checks: Checks) -> (Fake, Desired) {
    let desired = planned(&slice("suppress", json!({})), &local()).desired;
    let mut kernel = Fake::default();
    kernel.state.checks = checks;
    kernel.apply(&diff(&desired, &kernel.state.clone())).unwrap();
    kernel.state.links.extend([(name("tap0"), on(BRIDGE)), (name("tap1"), on(BRIDGE)), (name("tap2"), on("br0"))]);
    (kernel, desired)
}

fn steps(kernel: &Fake, desired: &Desired) -> Vec<String> {
    diff(desired, &kernel.state).iter().map(ToString::to_string).collect()
}

fn able() -> Checks {
    Checks { able: true, ..Checks::default() }
}

#[test]
fn guests_on_our_bridges_are_checked_before_the_packet_filter_lets_anything_of_theirs_pass() {
    let (mut kernel, desired) = kernel(able());
    let ops = diff(&desired, &kernel.state);
    let fence = ops.iter().position(|op| matches!(op, Op::ChangeFence { .. } | Op::LoadFence(_))).unwrap();
    let checks: Vec<_> = ops
        .iter()
        .enumerate()
        .filter_map(|(at, op)| {
            if let Op::CheckChecksums { name, again } = op { Some((at < fence, name.as_str(), *again)) } else { None }
        })
        .collect();
    assert_eq!(checks, [(true, "tap0", false), (true, "tap1", false)]);
    kernel.apply(&ops).unwrap();
    assert_eq!(steps(&kernel, &desired), [""; 0]);
}

#[test]
fn what_somebody_took_away_comes_back_and_is_told() {
    let (mut kernel, desired) = kernel(able());
    kernel.apply(&diff(&desired, &kernel.state.clone())).unwrap();
    let checks = &mut kernel.state.checks;
    checks.right.remove(&name("tap1"));
    checks.some.remove(&name("tap1"));
    checks.lost.insert(name("tap1"));
    assert_eq!(diff(&desired, &kernel.state), [Op::CheckChecksums { name: name("tap1"), again: true }]);
}

#[test]
fn what_is_no_guest_of_ours_any_more_is_let_go_last_of_all() {
    let (mut kernel, desired) = kernel(able());
    kernel.apply(&diff(&desired, &kernel.state.clone())).unwrap();
    kernel.state.links.insert(name("tap1"), on("br0"));
    let ops = diff(&desired, &kernel.state);
    assert_eq!(ops.last(), Some(&Op::LeaveChecksums { name: name("tap1") }));
    kernel.apply(&ops).unwrap();
    let ops = cleanup(&kernel.state);
    assert_eq!(ops.last(), Some(&Op::LeaveChecksums { name: name("tap0") }));
    kernel.apply(&ops).unwrap();
    assert!(kernel.state.checks.some.is_empty());
}

#[test]
fn a_kernel_that_cannot_is_asked_for_nothing_and_said_for_each_guest_that_nothing_checks() {
    let why = Some("no BTF".to_owned());
    let (mut kernel, desired) = kernel(Checks { why, ..Checks::default() });
    assert!(!steps(&kernel, &desired).iter().any(|step| step.contains("tcx")));
    let said =
        |kernel: &Fake| conflicts(&desired, &kernel.state).into_iter().map(|finding| (finding.code, finding.what));
    let findings: Vec<_> = said(&kernel).collect();
    assert!(findings.len() == 1 && findings[0].0 == "M0616", "{findings:?}");
    assert!(findings[0].1.contains("tap0 and 1 more") && findings[0].1.contains("no BTF"), "not br0's: {findings:?}");
    // What an earlier daemon could goes on, and is left as it is.
    kernel.state.checks.some = [name("tap0")].into();
    assert!(said(&kernel).all(|(_, what)| what.contains("from tap1 may")));
    kernel.state.checks.some.insert(name("tap1"));
    assert_eq!(said(&kernel).count(), 0);
    assert!(!steps(&kernel, &desired).iter().any(|step| step.contains("tcx")));
}
