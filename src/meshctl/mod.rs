//! Ring 4: the command line, one file a noun.

pub mod join;
pub mod lab;
