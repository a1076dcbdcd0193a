//! Ring 2: management without a store and without HTTP. State and a request come in, writes or a refusal come out.
//!
//! [`state`] is everything declared and known; [`index`] and [`mod@slice`] turn it into what one node needs; [`certs`] is the only
//! module that makes and reads certificates. Time, randomness and the installation's secrets are arguments.

pub mod addresses;
pub mod audit;
pub mod backup;
pub mod carried;
pub mod certs;
pub mod clones;
pub mod edit;
pub mod enroll;
pub mod facts;
pub mod foreign;
pub mod found;
pub mod index;
pub mod interfaces;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod matrix;
pub mod measured;
pub mod mtu_map;
pub mod mtu_now;
pub mod mtus;
pub mod news;
pub mod nodes;
pub mod own_mtu;
pub mod possession;
pub mod psk;
pub mod rename;
pub mod renames;
pub mod roles;
pub mod rotation;
pub mod slice;
pub mod state;
pub mod token;
pub mod told;
pub mod uplinks;
pub mod validate;

#[cfg(test)]
pub(crate) mod fixture;
