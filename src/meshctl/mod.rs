//! Ring 4: the command line, one file a noun.

pub mod lab;
