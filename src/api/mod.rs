//! Ring 1: messages that cross a process boundary, as plain data with serde, versioned by [`API_VERSION`].
//!
//! [`objects`] are what operators declare, [`admin`] what else they ask, [`enroll`] is how a machine gets in, [`stream`] is how a node stays in sync,
//! [`local`] is what `meshd` answers on its socket, [`cut`] is what a finding keeps from arriving, [`mtu`] is what paths carry, [`proof`] is how a key is
//! shown to be held, [`problem`] is how anything says no, [`list`] is how many are named in a sentence. [`heard`]
//! reads what a program of another version said. No other code that does something lives here.

pub mod admin;
pub mod cut;
pub mod enroll;
pub mod heard;
pub mod list;
pub mod local;
pub mod mtu;
pub mod objects;
pub mod problem;
pub mod proof;
pub mod stream;

/// `apiVersion` of every manifest and answer.
pub const API_VERSION: &str = "vxmesh/v1";

/// Name in every management server certificate (DNS SAN), whatever address it is reached at. Node and admin certificates are
/// never given it, so none of them can stand in for a server.
pub const MANAGEMENT_NAME: &str = "management.vxmesh";
