//! The harness itself.

use crate::harness::{Space, cable, can_run};

#[test]
fn a_space_is_gone_after_a_panic() {
    if !can_run() {
        return;
    }
    let mut name = String::new();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let space = Space::new("panic");
        name = space.name().to_owned();
        assert!(vxmesh::linux::netns::path(&name).exists());
        space.enter(|| panic!("inside"));
    }));
    assert!(panic.is_err());
    assert!(!vxmesh::linux::netns::path(&name).exists());
}

#[test]
fn two_spaces_with_a_cable_reach_each_other() {
    if !can_run() {
        return;
    }
    let (a, b) = (Space::new("a"), Space::new("b"));
    cable(&a, "eth0", &b, "eth0");
    a.sh("ip address add 10.9.0.1/24 dev eth0");
    b.sh("ip address add 10.9.0.2/24 dev eth0");
    a.sh("ping -c 1 -W 2 10.9.0.2");
}
