//! The command line.

fn main() -> std::process::ExitCode {
    vxmesh::meshctl::main()
}
