//! Ring 4: the command line, one file a noun.
//!
//! Results on stdout, everything else on stderr; exit codes are [`Exit`]'s. Nothing here decides: a command turns flags into an
//! object or a question, asks `meshd` or a management node, and prints the answer.

mod events;
mod explain;
mod form;
mod get;
mod globals;
pub mod join;
pub mod lab;
mod labels;
mod manifests;
mod mtu;
mod mtu_flags;
mod network;
mod node;
mod objects;
mod out;
mod overlay;
mod pdc;
mod policy;
mod port;
mod remote;
mod slip_helps;
pub mod slips;
mod status;
mod table;
mod token;
mod tunnel;
mod unset;

use std::process::ExitCode;

use clap::{FromArgMatches as _, Parser, Subcommand};

use self::objects::Verbs;
use self::out::{Done, Format, Stop};
use self::remote::Access;
use crate::api::problem::{Exit, Problem};

/// Layer-2 networks across datacenters: plain VXLAN inside one, WireGuard between them
#[derive(Debug, Parser)]
#[command(name = "meshctl", version, subcommand_required = true)]
struct Cli {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Asks(Asks),
    /// A whole mesh in network namespaces on this machine
    Lab(lab::Args),
}

/// What asks `meshd` or a management node.
#[derive(Debug, Subcommand)]
enum Asks {
    /// Join this machine to a mesh
    Join(join::JoinArgs),
    /// Take this machine out of its mesh
    Leave(join::LeaveArgs),
    /// What is up, what is wrong and what to do: of this node, or of the mesh
    Status(status::StatusArgs),
    /// Why a frame arrives or does not
    Explain(explain::Args),
    /// What happened
    Events(events::Args),
    /// Bring objects to what a file says, all of them or none
    Apply(manifests::ApplyArgs),
    /// What `apply` would change; ends with 1 where that is anything
    Diff(manifests::Args),
    /// Print objects of a kind
    Get(get::Args),
    /// Physical datacenters
    #[command(subcommand)]
    Pdc(Verbs<pdc::Fields>),
    /// Machines that run meshd, and foreign peers
    #[command(subcommand)]
    Node(node::Command),
    /// Templates for networks
    #[command(subcommand)]
    Overlay(Verbs<overlay::Fields>),
    /// Layer-2 networks
    #[command(subcommand)]
    Network(Verbs<network::Fields>),
    /// vNICs of guests
    #[command(subcommand)]
    Port(Verbs<port::Fields>),
    /// Join tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Path policies: plain, encrypt or forbid, and the matrix of all paths
    #[command(subcommand)]
    Policy(policy::Command),
    /// The ARP and VTEP table of a node, and illumos `files` JSON
    #[command(subcommand)]
    Table(table::Command),
    /// WireGuard tunnels of this node
    #[command(subcommand)]
    Tunnel(tunnel::Command),
    /// What paths carry, computed and measured, and what that leaves for guests
    #[command(subcommand)]
    Mtu(mtu::Command),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let parsed = globals::tree().try_get_matches().and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (mut cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return slips::tell(error, std::env::args().collect()),
    };
    let format = cli.access.output;
    globals::settle(&mut cli.access, &matches);
    match globals::refuse_unused(&matches).map_err(Stop::from).and_then(|()| run(cli)) {
        Ok(()) | Err(Stop::PipeClosed) => ExitCode::SUCCESS,
        Err(Stop::Degraded) => ExitCode::from(Exit::Degraded.code()),
        Err(Stop::Differs) => ExitCode::from(Exit::Failed.code()),
        Err(Stop::Refused(problem)) => {
            out::problem(format, &problem);
            ExitCode::from(problem.exit.code())
        }
    }
}

fn run(Cli { access, command }: Cli) -> Done {
    match command {
        Command::Asks(question) => {
            // Tokens and operators' keys pass through here.
            let _ = crate::linux::sys::no_core_dumps();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let refuse = |e| Problem::new("M0113", Exit::Failed, format!("the machine gives no event queue: {e}"));
            runtime.map_err(refuse)?.block_on(ask(&access, question))
        }
        // A lab makes runtimes of its own, and becomes other programs.
        Command::Lab(args) => lab::run(args, access.output),
    }
}

async fn ask(access: &Access, question: Asks) -> Done {
    match question {
        Asks::Join(args) => join::join(access, args).await,
        Asks::Leave(args) => join::leave(access, &args).await,
        Asks::Status(args) => status::run(access, args).await,
        Asks::Explain(args) => explain::run(access, args).await,
        Asks::Events(args) => events::run(access, args).await,
        Asks::Apply(args) => manifests::apply(access, args).await,
        Asks::Diff(args) => manifests::diff(access, args).await,
        Asks::Get(args) => get::run(access, args).await,
        Asks::Pdc(verb) => objects::run(access, verb).await,
        Asks::Node(command) => node::run(access, command).await,
        Asks::Overlay(verb) => objects::run(access, verb).await,
        Asks::Network(verb) => objects::run(access, verb).await,
        Asks::Port(verb) => objects::run(access, verb).await,
        Asks::Token(command) => token::run(access, command).await,
        Asks::Policy(command) => policy::run(access, command).await,
        Asks::Table(command) => table::run(access, command).await,
        Asks::Tunnel(command) => tunnel::run(access, command).await,
        Asks::Mtu(command) => mtu::run(access, command).await,
    }
}

/// A flag that is needed and not there.
fn missing(flag: &str, example: &str) -> Problem {
    Problem::new("M0111", Exit::Usage, format!("--{flag} is needed")).help(format!("--{flag} {example}"))
}

/// Reads a word of one of our enumerations as manifests write it.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    use serde::de::IntoDeserializer as _;
    let reader: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    T::deserialize(reader).map_err(|error| {
        let text = error.to_string();
        let known = text.split_once(", expected ").map(|(_, known)| format!("known: {}", known.replace('`', "")));
        known.unwrap_or(text)
    })
}

/// The format for a thing that has no table of its own.
const fn data(format: Format) -> Format {
    match format {
        Format::Table | Format::Yaml => Format::Yaml,
        Format::Json => Format::Json,
    }
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
