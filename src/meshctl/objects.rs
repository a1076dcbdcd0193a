//! The five verbs that every declared object has. A noun says which flags it takes and what its table shows; the rest is here.

use hyper::Method;

use super::mtu;
use super::out::{self, Done, Format, Lines};
use super::remote::{Access, Server};
use crate::api::admin::Objects;
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
    },
    /// All of them, one a line
    List,
    /// One of them, all of it
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
        /// Do it even where it takes the ground from under running guests for a moment
        #[arg(long)]
        yes: bool,
    },
    /// Delete it
    Delete {
        /// Its name
        name: String,
        /// Delete the ports that refer to it too
        #[arg(long)]
        cascade: bool,
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
        Verbs::Create { name, fields } => {
            let object = fields.create(&name)?;
            let path = format!("{}?create=true", path(F::KIND, &name)?);
            let server = server()?;
            let made = server.call(Method::PUT, &path, Some(&object)).await?;
            mtu::warn(&server, &made).await;
            changed(access, "created", &made)
        }
        Verbs::List => {
            let items = list(&server()?, F::KIND).await?;
            print_list::<F>(access.output, &items)
        }
        Verbs::Show { name } => print_one(access.output, &get(&server()?, F::KIND, &name).await?),
        Verbs::Set { name, fields, yes } => {
            let server = server()?;
            let mut object: Any = server.get_whole(&path(F::KIND, &name)?).await?;
            let before = object.clone();
            fields.set(&mut object)?;
            if object == before {
                return changed(access, "unchanged", &object);
            }
            // The revision that was read goes back, so a change in between is a conflict and not lost.
            let path = format!("{}{}", path(F::KIND, &name)?, if yes { "?yes=true" } else { "" });
            let made = server.call(Method::PUT, &path, Some(&object)).await?;
            mtu::warn(&server, &made).await;
            changed(access, "changed", &made)
        }
        Verbs::Delete { name, cascade } => delete(access, &server()?, F::KIND, &name, cascade).await,
    }
}

/// Deletes an object.
///
/// # Errors
/// What the management node refuses.
pub(super) async fn delete(access: &Access, server: &Server, kind: Kind, name: &str, cascade: bool) -> Done {
    let path = format!("{}{}", path(kind, name)?, if cascade { "?cascade=true" } else { "" });
    let gone: serde_json::Value = server.call::<(), _>(Method::DELETE, &path, None).await?;
    match access.output {
        Format::Table => out::line(&format!("{kind}/{name} deleted")),
        Format::Json | Format::Yaml => out::value(access.output, &gone),
    }
}

/// All objects of a kind.
///
/// # Errors
/// What the management node refuses.
pub(super) async fn list(server: &Server, kind: Kind) -> Result<Vec<Any>, Problem> {
    server.get::<Objects>(&format!("/v1/objects/{kind}")).await.map(|objects| objects.items)
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
    out::list(format, F::KIND.word(), &values, &lines)
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
fn path(kind: Kind, name: &str) -> Result<String, Problem> {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if plain { Ok(format!("/v1/objects/{kind}/{name}")) } else { Err(no_name(kind, name)) }
}

fn no_name(kind: Kind, name: &str) -> Problem {
    let problem = Problem::new("M0302", Exit::Invalid, format!("'{name}' is not the name of a {kind}"));
    problem.note("a name holds only a-z, 0-9 and '-'")
}

/// A name as the type that the kind wants.
///
/// # Errors
/// It is none.
pub(super) fn name<N: std::str::FromStr<Err: std::fmt::Display>>(kind: Kind, text: &str) -> Result<N, Problem> {
    text.parse().map_err(|e: N::Err| {
        Problem::new("M0302", Exit::Invalid, format!("'{text}' is not the name of a {kind}")).note(e.to_string())
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
