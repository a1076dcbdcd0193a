//! The three programs from outside: arguments, output, exit codes.

mod offline;
mod program;
