//! `meshmgr`: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use vxmesh::meshmgr::{Arguments, main as meshmgr};

fn main() -> ExitCode {
    meshmgr(Arguments::parse())
}
