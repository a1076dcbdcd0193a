//! Tests on the real kernel, in network namespaces that they make themselves.

#[path = "harness.rs"]
#[expect(unreachable_pub, dead_code, reason = "a toolbox: each test takes what it needs")]
mod harness;
#[expect(unreachable_pub, dead_code, reason = "a toolbox: each test takes what it needs")]
mod node;

mod lab;
mod reconcile;
mod spaces;
