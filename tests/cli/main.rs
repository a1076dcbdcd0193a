//! The three programs from outside: arguments, output, exit codes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad;
mod bombs;
mod bounds;
mod crash;
#[path = "../common/ended.rs"]
mod ended;
mod offline;
mod online;
mod owner;
mod program;
mod secrets;
mod slips;
mod words;
