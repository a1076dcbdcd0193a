//! Tests on the real kernel, in network namespaces that they make themselves.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "helpers of tests: what fails says where"
)]

#[path = "../common/ended.rs"]
mod ended;
#[path = "harness.rs"]
#[expect(unreachable_pub, reason = "a toolbox: each test takes what it needs")]
mod harness;
#[expect(unreachable_pub, reason = "a toolbox: each test takes what it needs")]
mod node;
#[path = "../common/says.rs"]
mod says;

mod absent;
mod addresses;
mod attached;
mod barred;
#[expect(unreachable_pub, reason = "a toolbox of this test program")]
mod behaviours;
mod chaos;
mod checksums;
mod clamp;
mod clear;
mod confined;
mod detour;
#[expect(unreachable_pub, reason = "a toolbox of this test program")]
mod dhcp;
mod disk;
mod enrol;
mod floating;
#[expect(unreachable_pub, reason = "a toolbox of this test program")]
mod floods;
mod foreign;
#[expect(unreachable_pub, reason = "a toolbox of this test program")]
mod frames;
mod groups;
mod guard;
mod halfway;
mod heard;
#[expect(unreachable_pub, reason = "a toolbox of this test program")]
mod hostile;
mod identity;
mod lab;
#[expect(unreachable_pub, reason = "a toolbox of this test program")]
mod labs;
mod lane;
mod lanes;
mod leave;
#[expect(unreachable_pub, reason = "a toolbox of this test program")]
mod liar;
mod loops;
mod members;
#[expect(unreachable_pub, reason = "a toolbox of this test program")]
mod mesh;
mod moves;
mod mtu;
mod mute;
#[expect(unreachable_pub, reason = "a toolbox of this test program")]
mod night;
mod offload;
mod places;
mod plain;
mod plugs;
mod pmtu;
mod ports;
#[expect(unreachable_pub, reason = "a toolbox of this test program")]
mod pretend;
mod promises;
mod reconcile;
mod repair;
mod restore;
mod rights;
mod routed;
mod router;
mod rows;
mod said;
mod scale;
mod sentences;
mod sizes;
mod spaces;
mod start;
#[expect(unreachable_pub, reason = "a toolbox: each test takes what it needs")]
mod starved;
mod strangers;
mod stray;
mod stuck;
mod super_frames;
mod told;
mod tracked;
mod tunnel;
mod units;
mod unwatched;
mod users;
mod watched;
mod ways;
mod wrongs;
