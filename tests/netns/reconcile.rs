//! Plans meet the real kernel.

use serde_json::json;
use vxmesh::linux::Kernel;

use crate::harness::can_run;
use crate::node::{host, local, planned, row, settle, slice, text};

#[test]
fn a_fresh_host_settles_in_one_pass() {
    if !can_run() {
        return;
    }
    let host = host("fresh", "10.9.0.1");
    let rows = json!({
        "default/10/-/02:00:00:00:00:01": row("a", &["192.168.10.11"], &[]),
        "default/10/-/02:00:00:00:00:02": row("b", &["192.168.10.12"], &["fd10::12"]),
        "default/10/-/02:00:00:00:00:04": row("far", &["192.168.10.14"], &[]),
    });
    let plan = planned(&slice("a", rows), &local("10.9.0.1"));
    assert_eq!(plan.findings, []);
    host.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        let (first, second, _) = settle(&mut kernel, &plan);
        assert!(!first.is_empty());
        assert_eq!(text(&second), "");
    });
}
