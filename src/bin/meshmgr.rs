//! `meshmgr`: arguments in, exit code out.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use vxmesh::meshctl::slips;
use vxmesh::meshmgr::{Arguments, main as meshmgr};

fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => meshmgr(arguments),
        Err(error) => slips::tell_plainly(&error, &Arguments::command()),
    }
}
