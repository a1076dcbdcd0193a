//! What happens without the rights, programs or modules that are needed.

use vxmesh::api::problem::{Exit, Problem};
use vxmesh::linux::{Kernel, KernelError, caps, sys, underlay};
use vxmesh::node::reconcile;

use crate::harness::{can_run, succeed};
use crate::node::{host, local, planned, settle, slice, text};

#[test]
fn two_capabilities_are_enough_and_the_rest_is_gone() {
    if !can_run() {
        return;
    }
    let host = host("caps", "10.9.0.1");
    host.enter(|| {
        caps::check().unwrap();
        caps::drop_others().unwrap();
        caps::check().unwrap();
        let plan = planned(&slice("a", serde_json::json!({})), &local("10.9.0.1"));
        let (_, left, _) = settle(&mut Kernel::new().unwrap(), &plan);
        assert_eq!(text(&left), "");
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
            let line = status.lines().find(|l| l.starts_with(set)).unwrap();
            assert_eq!(line, format!("{set}:\t0000000000003000"));
        }
    });
}

#[test]
fn without_the_capability_it_says_so_and_nothing_changes() {
    if !can_run() {
        return;
    }
    let host = host("nocaps", "10.9.0.1");
    let before = host.sh("ip -o link; nft list ruleset");
    let plan = planned(&slice("a", serde_json::json!({})), &local("10.9.0.1"));
    host.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        let ops = reconcile::diff(&plan.desired, &kernel.observe().unwrap());
        // Out of the bounding set too, or `nft` would get it back by being started as root.
        sys::capability_unbound(12).unwrap();
        sys::capabilities_set(0).unwrap();
        assert!(matches!(caps::check(), Err(KernelError::NotAllowed)));
        let error = kernel.apply(&ops).unwrap_err();
        assert_eq!(error.code(), "M0620", "{error}");
        let problem = Problem::from(&error);
        assert_eq!((problem.code.as_str(), problem.exit), ("M0620", Exit::Denied));
        assert!(problem.to_string().contains("nothing was changed"));
    });
    assert_eq!(host.sh("ip -o link; nft list ruleset"), before);
}

/// Set in the process that this file starts of itself.
const CHILD: &str = "VXMESH_TEST_WITHOUT_NFT";

#[test]
fn without_nft_it_says_so_and_no_device_is_made() {
    if std::env::var_os(CHILD).is_some() {
        let mut kernel = Kernel::new().unwrap();
        let plan = planned(&slice("a", serde_json::json!({})), &local("10.9.0.1"));
        let ops = reconcile::diff(&plan.desired, &kernel.observe().unwrap());
        let error = kernel.apply(&ops).unwrap_err();
        assert!(kernel.observe().unwrap().links.is_empty(), "no device without a packet filter");
        assert_eq!(error.code(), "M0621", "{error}");
        return assert!(Problem::from(&error).to_string().contains("apt install nftables"));
    }
    if !can_run() {
        return;
    }
    let host = host("nonft", "10.9.0.1");
    let itself = std::env::current_exe().unwrap();
    let mut command = host.command("env");
    command.args(["PATH=/nonexistent", &format!("{CHILD}=1")]).arg(itself);
    let out = succeed(command.args(["--exact", "rights::without_nft_it_says_so_and_no_device_is_made"]));
    assert!(out.contains("1 passed"), "{out}");
}

#[test]
fn an_underlay_is_found_by_interface_and_by_address() {
    if !can_run() {
        return;
    }
    let host = host("underlay", "10.9.0.1");
    host.sh(
        "ip address add fd00::1/64 dev eth0 nodad; ip link set dev eth0 mtu 9000; ip address add 10.8.0.1/24 dev wire",
    );
    host.enter(|| {
        for written in ["eth0", "10.9.0.1"] {
            let found = underlay::resolve(&written.parse().unwrap()).unwrap();
            let found = (found.interface.to_string(), found.address.to_string(), found.mtu);
            assert_eq!(found, ("eth0".into(), "10.9.0.1".into(), 9000), "{written}");
        }
        assert_eq!(underlay::resolve(&"fd00::1".parse().unwrap()).unwrap().interface.as_str(), "eth0");
        let refused =
            |written: &str| Problem::from(&underlay::resolve(&written.parse().unwrap()).unwrap_err()).to_string();
        assert!(refused("eth9").contains("no interface 'eth9'; there are: eth0, lo, wire"), "{}", refused("eth9"));
        assert!(refused("lo").contains("no global address"));
        assert!(refused("192.0.2.1").contains("10.9.0.1 (eth0)"), "{}", refused("192.0.2.1"));
        assert_eq!(underlay::addresses().unwrap().len(), 3);
    });
}
