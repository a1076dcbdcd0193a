//! Ring 2: management without a store and without HTTP. State and a request come in, writes or a refusal come out.
//!
//! [`certs`] makes and reads certificates; it is the only module that does.

pub mod certs;
