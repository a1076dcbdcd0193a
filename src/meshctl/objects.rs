//! The five verbs that every declared object has. A noun says which flags it takes and what its table shows; the rest is here.

use std::io::{self, IsTerminal as _, Write as _};

use hyper::Method;

use super::labels::{self, Label};
use super::out::{self, Done, Format, Lines};
use super::remote::{Access, Server};
use super::unset;
use super::{form, mtu, network, port};
use crate::api::admin::Objects;
use crate::api::list::named;
use crate::api::objects::{Any, Kind};
use crate::api::problem::{Exit, Problem};
use crate::config::manifest;

/// What is particular of a noun. All flags are optional for clap: `set` changes only what is given, `create` asks for what it
/// needs.
pub(super) trait Noun: clap::Args {
    /// Its kind.
    const KIND: Kind;
    /// Columns of its list, `NAME` first.
    const COLUMNS: &'static [&'static str];

    /// A new object.
    ///
    /// # Errors
    /// A flag is missing, or the name is none.
    fn create(self, name: &str) -> Result<Any, Problem>;

    /// Changes what is given.
    ///
    /// # Errors
    /// What is given does not go together.
    fn set(self, object: &mut Any) -> Result<(), Problem>;

    /// Cells of its line in the list.
    fn cells(object: &Any) -> Vec<String>;
}

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verbs<F: clap::Args> {
    /// Make a new one; refused if there is one of this name
    Create {
        /// Its name: a-z, 0-9 and '-'
        name: String,
        #[command(flatten)]
        fields: F,
        /// Write KEY=VALUE on it, to find it by; may be given several times
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<Label>,
    },
    /// All of them, one a line
    #[command(visible_alias = "ls")]
    List {
        /// Only those with this label; may be given several times
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<Label>,
    },
    /// One of them, all of it
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        /// Its name
        name: String,
    },
    /// Change what is given and nothing else
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        fields: F,
        /// Write KEY=VALUE on it; KEY= takes it off
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<Label>,
        /// Do it even where it takes the ground from under running guests for a moment
        #[arg(long)]
        yes: bool,
        /// Fields to empty, as their flags are called, separated by commas; label takes all labels off
        #[arg(long, value_name = "FIELD", value_delimiter = ',')]
        unset: Vec<String>,
    },
    /// Delete it
    Delete {
        /// Its name
        name: String,
        /// Delete the ports that refer to it too; on a terminal it is asked first
        #[arg(long)]
        cascade: bool,
        /// With --cascade: do not ask
        #[arg(long, requires = "cascade")]
        yes: bool,
    },
}

/// Runs a verb.
///
/// # Errors
/// What the management node refuses.
pub(super) async fn run<F: Noun>(access: &Access, verb: Verbs<F>) -> Done {
    // What is wrong with the flags is said before anybody is asked.
    let server = || access.management();
    match verb {
        Verbs::Create { name, fields, label } => {
            let mut object = fields.create(&name)?;
            labels::write(&mut object, &label);
            let path = format!("{}?create=true", path(F::KIND, &name)?);
            let server = server()?;
            let made = server.call(Method::PUT, &path, Some(&object)).await.map_err(form::of_flags)?;
            mtu::warn(&server, &made).await;
            changed(access, "created", &made)?;
            port::look(&made);
            network::next(&made).iter().for_each(|next| out::talk(next));
            Ok(())
        }
        Verbs::List { label } => {
            let server = server()?;
            let mut items = list(&server, F::KIND).await?;
            items.retain(|object| labels::fit(object, &label));
            if F::KIND == Kind::Network && access.output == Format::Table {
                return network::print_numbers(&server, &items).await;
            }
            print_list::<F>(access.output, &items)
        }
        Verbs::Show { name } => print_one(access.output, &get(&server()?, F::KIND, &name).await?),
        Verbs::Set { name, fields, label, unset, yes } => {
            let server = server()?;
            let mut object: Any = server.get_whole(&path(F::KIND, &name)?).await?;
            let before = object.clone();
            object = unset::without(&object, &unset)?;
            fields.set(&mut object)?;
            unset::once(&object, &unset)?;
            labels::write(&mut object, &label);
            if object == before {
                return changed(access, "unchanged", &object);
            }
            // The revision that was read goes back, so a change in between is a conflict and not lost.
            let path = format!("{}{}", path(F::KIND, &name)?, if yes { "?yes=true" } else { "" });
            let made = server.call(Method::PUT, &path, Some(&object)).await.map_err(form::of_flags)?;
            mtu::warn(&server, &made).await;
            changed(access, "changed", &made)
        }
        Verbs::Delete { name, cascade, yes } => {
            let server = server()?;
            let ports = if cascade { ports_of(&server, F::KIND, &name).await? } else { Vec::new() };
            if !ports.is_empty() && !yes && io::stdin().is_terminal() {
                agree(F::KIND, &name, &ports)?;
            }
            delete(access, &server, F::KIND, &name, cascade.then_some(ports.len())).await
        }
    }
}

/// Names of the ports that go with an object.
async fn ports_of(server: &Server, kind: Kind, name: &str) -> Result<Vec<String>, Problem> {
    let refers = |object: &Any| match (object, kind) {
        (Any::Port(port), Kind::Network) => port.spec.network.as_str() == name,
        (Any::Port(port), Kind::Node) => port.spec.node.as_str() == name,
        _ => false,
    };
    let ports = list(server, Kind::Port).await?.into_iter().filter(refers);
    Ok(ports.map(|port| port.name().to_owned()).collect())
}

/// Asks somebody at a terminal whether all of it is meant.
fn agree(kind: Kind, name: &str, ports: &[String]) -> Result<(), Problem> {
    let names = named(ports, 5);
    let _ = write!(io::stderr(), "{kind} '{name}' goes with {} ports ({names}). Delete? [y/N] ", ports.len());
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    if read.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    let problem = Problem::new("M0134", Exit::Usage, format!("deleting {kind} '{name}' with its ports needs a yes"));
    Err(problem
        .note("nothing was changed")
        .help(format!("without the question: meshctl {kind} delete {name} --cascade --yes")))
}

/// Deletes an object; `cascade`: with so many ports.
///
/// # Errors
/// What the management node refuses.
pub(super) async fn delete(access: &Access, server: &Server, kind: Kind, name: &str, cascade: Option<usize>) -> Done {
    let path = format!("{}{}", path(kind, name)?, if cascade.is_some() { "?cascade=true" } else { "" });
    let gone: serde_json::Value = server.call::<(), _>(Method::DELETE, &path, None).await?;
    let with = match cascade.unwrap_or_default() {
        0 => String::new(),
        1 => ", and 1 port with it".to_owned(),
        ports => format!(", and {ports} ports with it"),
    };
    match access.output {
        Format::Table => out::line(&format!("{kind}/{name} deleted{with}")),
        Format::Json | Format::Yaml => out::value(access.output, &gone),
    }
}

/// All objects of a kind.
///
/// # Errors
/// What the management node refuses.
pub(super) async fn list(server: &Server, kind: Kind) -> Result<Vec<Any>, Problem> {
    server.get::<Objects>(&format!("/v1/objects/{}", kind.word())).await.map(|objects| objects.items)
}

/// One object.
///
/// # Errors
/// What the management node refuses.
pub(super) async fn get(server: &Server, kind: Kind, name: &str) -> Result<Any, Problem> {
    server.get(&path(kind, name)?).await
}

/// Prints a list.
///
/// # Errors
/// The pipe is closed.
pub(super) fn print_list<F: Noun>(format: Format, items: &[Any]) -> Done {
    let mut lines = Lines::new(F::COLUMNS);
    items.iter().for_each(|object| lines.add(F::cells(object)));
    let values: Result<Vec<_>, _> = items.iter().map(manifest::to_value).collect();
    let values = values.map_err(|e| Problem::new("M0110", Exit::Failed, e.to_string()))?;
    out::list(format, F::KIND.called(), &values, &lines)
}

/// Prints one object, for people as the manifest that it is.
///
/// # Errors
/// The pipe is closed.
pub(super) fn print_one(format: Format, object: &Any) -> Done {
    let value = manifest::to_value(object).map_err(|e| Problem::new("M0110", Exit::Failed, e.to_string()))?;
    out::value(super::data(format), &value)
}

fn changed(access: &Access, how: &str, object: &Any) -> Done {
    match access.output {
        Format::Table => out::line(&format!("{}/{} {how}", object.kind(), object.name())),
        Format::Json | Format::Yaml => print_one(access.output, object),
    }
}

/// Path of an object. Only what may be a name goes into a path.
pub(super) fn path(kind: Kind, name: &str) -> Result<String, Problem> {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if plain { Ok(format!("/v1/objects/{}/{name}", kind.word())) } else { Err(no_name(kind, name)) }
}

fn no_name(kind: Kind, name: &str) -> Problem {
    let problem = Problem::new("M0302", Exit::Invalid, format!("'{name}' is not the name of a {kind}"));
    problem.note("a name holds only a-z, 0-9 and '-'").help(format!("see what there is: meshctl {kind} list"))
}

/// A name as the type that the kind wants.
///
/// # Errors
/// It is none.
pub(super) fn name<N: std::str::FromStr<Err: std::fmt::Display>>(kind: Kind, text: &str) -> Result<N, Problem> {
    text.parse().map_err(|e: N::Err| {
        Problem::new("M0302", Exit::Invalid, format!("'{text}' is not the name of a {kind}"))
            .note(e.to_string())
            .help("take a name like fra-1")
    })
}

/// The server answered with an object of another kind.
pub(super) fn other_kind(object: &Any) -> Problem {
    Problem::new("M0103", Exit::Failed, format!("the answer is a {}, which was not asked for", object.kind()))
}

/// Cells of a list of things.
pub(super) fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// The cell of something that may be missing.
pub(super) fn or_none<T: ToString>(item: Option<T>) -> String {
    item.map_or_else(String::new, |item| item.to_string())
}
