//! vxmesh: virtual machines and hosts in several places live in the same layer-2 networks.
//!
//! Inside one physical datacenter (PDC) frames go as plain VXLAN, switched by the kernel; between PDCs the same VXLAN frames
//! travel inside WireGuard tunnels that the node daemon builds. The parts form rings; arrows point inwards only, and
//! `tests/tidy.rs` holds them to it.
//!
//! | ring | module | what it is | what is absent |
//! |---|---|---|---|
//! | 0 | [`types`] | validated newtypes | I/O, clocks, crypto |
//! | 1 | [`wire`] | bytes to headers and back, one header a file | allocation, state |
//! | 1 | [`policy`] | path and MTU decisions as pure functions | everything but arithmetic |
//! | 1 | [`table`] | rows, slices, deltas, table files | I/O |
//! | 1 | [`api`] | messages that cross a process boundary | behaviour |
//! | 1 | [`config`] | what operators write, to validated values | files: text comes in |
//! | 2 | [`tunnel`] | sans-IO WireGuard; the only module that touches an AEAD | sockets, clocks |
//! | 2 | [`forward`] | sans-IO data plane | sockets, clocks, crypto |
//! | 2 | [`probe`] | sans-IO path MTU discovery | sockets, clocks, the tunnel |
//! | 2 | [`node`] | sans-IO control plane of a node: plan, reconcile, sync, explain | netlink |
//! | 2 | [`mgmt`] | sans-IO management: validation, slices, tokens, certificates | the store, HTTP |
//! | 3 | [`linux`] | observe and apply; `sys.rs` is the only `unsafe` | policy |
//! | 3 | [`store`] | revisions, compare-and-set, watch | knowledge of objects |
//! | 3 | [`transport`] | HTTP over TLS and Unix sockets, pinned | knowledge of objects |
//! | 4 | [`meshd`], [`meshmgr`], [`meshctl`], [`lab`] | shells: they own sockets, threads, files | decisions |

pub mod api;
pub mod clock;
pub mod config;
pub mod forward;
pub mod lab;
pub mod linux;
pub mod meshctl;
pub mod meshd;
pub mod meshmgr;
pub mod mgmt;
pub mod node;
pub mod policy;
pub mod probe;
pub mod store;
pub mod table;
pub mod transport;
pub mod tunnel;
pub mod types;
pub mod wire;

// Tables of tests that programs in `tests/` use too name this crate as they see it.
#[cfg(test)]
extern crate self as vxmesh;
