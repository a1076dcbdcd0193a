//! `meshctl apply` and `meshctl diff`: manifests, all of them in one transaction.

use std::io::Read as _;

use hyper::Method;
use serde_json::Value;

use super::form;
use super::out::{self, Done, Format, Stop};
use super::remote::Access;
use crate::api::admin::{Applied, Apply, ObjectChange, Verb};
use crate::api::objects::{Any, NodeStatus};
use crate::api::problem::{Exit, Problem};
use crate::config::manifest;
use crate::mgmt::state::with_revision;

/// Flags of both.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// File with YAML or JSON objects; - reads stdin
    #[arg(short, long, value_name = "FILE")]
    file: String,
    /// Refuse objects that somebody has changed since the file was printed: their metadata.revision counts, and else does not
    #[arg(long)]
    if_unchanged: bool,
}

/// Flags of `apply`.
#[derive(Debug, clap::Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    args: Args,
    /// Do it even where it takes the ground from under running guests for a moment
    #[arg(long)]
    yes: bool,
}

/// `meshctl apply`
///
/// # Errors
/// The file is invalid, or the management node refuses; either way nothing was changed.
pub(super) async fn apply(access: &Access, args: ApplyArgs) -> Done {
    let asked = Apply { items: wanted(&args.args)?, dry_run: false, yes: args.yes };
    let applied = access.management()?.call(Method::POST, "/v1/apply", Some(&asked)).await.map_err(form::of_keys)?;
    print_applied(access.output, &applied)
}

/// `meshctl diff`
///
/// # Errors
/// As [`apply`].
pub(super) async fn diff(access: &Access, args: Args) -> Done {
    let applied = ask(access, wanted(&args)?, true).await?;
    match access.output {
        Format::Table => out::text(&format!("{}{}", difference(&applied), summary(&applied, "Nothing done.")))?,
        Format::Json | Format::Yaml => out::value(access.output, &applied)?,
    }
    let same = applied.changes.iter().all(|change| change.change == Verb::Unchanged);
    if same { Ok(()) } else { Err(Stop::Differs) }
}

/// Sends objects in one transaction.
///
/// # Errors
/// What the management node refuses; nothing was changed then.
pub(super) async fn ask(access: &Access, items: Vec<Any>, dry_run: bool) -> Result<Applied, Problem> {
    let asked = Apply { items, dry_run, yes: false };
    access.management()?.call(Method::POST, "/v1/apply", Some(&asked)).await.map_err(form::of_keys)
}

/// Prints what was changed.
///
/// # Errors
/// The pipe is closed.
pub(super) fn print_applied(format: Format, applied: &Applied) -> Done {
    match format {
        Format::Table => {
            let line = |change: &&ObjectChange| change.change != Verb::Unchanged;
            let lines = applied.changes.iter().filter(line);
            let lines = lines.map(|change| format!("{}/{} {}\n", change.kind, change.name, done(change.change)));
            out::text(&format!("{}{}", lines.collect::<String>(), summary(applied, "Done.")))
        }
        Format::Json | Format::Yaml => out::value(format, applied),
    }
}

/// What a file wants. What was printed once can be applied at any time: what the server knows of an object is its own, and which revision it
/// had then counts only where that is asked for.
fn wanted(args: &Args) -> Result<Vec<Any>, Problem> {
    let wish = |mut item: Any| {
        if let Any::Node(node) = &mut item {
            node.status = NodeStatus::default();
        }
        if args.if_unchanged { item } else { with_revision(item, None) }
    };
    Ok(read(&args.file)?.into_iter().map(wish).collect())
}

fn read(file: &str) -> Result<Vec<Any>, Problem> {
    let (name, text) = match file {
        "-" => {
            let mut text = String::new();
            let limit = u64::try_from(manifest::MOST).unwrap_or(u64::MAX).saturating_add(1);
            let read = std::io::stdin().lock().take(limit).read_to_string(&mut text);
            ("<stdin>", read.map(|_| text))
        }
        path => (path, std::fs::read_to_string(path)),
    };
    let text = text.map_err(|error| unreadable(name, &error))?;
    manifest::parse(name, &text)
}

/// A file that cannot be read.
pub(super) fn unreadable(file: &str, error: &std::io::Error) -> Problem {
    let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Invalid };
    Problem::new("M0308", exit, format!("{file} cannot be read: {error}"))
        .note("nothing was changed")
        .help("name a file that this user may read; - reads what comes in by a pipe")
}

const fn done(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "created",
        Verb::Update => "changed",
        Verb::Unchanged => "unchanged",
        Verb::Delete => "deleted",
    }
}

fn summary(applied: &Applied, end: &str) -> String {
    let count = |verb: Verb| applied.changes.iter().filter(|change| change.change == verb).count();
    let (new, changed, same) = (count(Verb::Create), count(Verb::Update), count(Verb::Unchanged));
    format!("{new} created, {changed} changed, {same} unchanged. {end}\n")
}

/// What differs, one field a line.
fn difference(applied: &Applied) -> String {
    let mut text = String::new();
    for change in &applied.changes {
        let name = format!("{}/{}", change.kind, change.name);
        match change.change {
            Verb::Unchanged => {}
            Verb::Create => text.push_str(&format!("+ {name}\n")),
            Verb::Delete => text.push_str(&format!("- {name}\n")),
            Verb::Update => {
                text.push_str(&format!("~ {name}\n"));
                for (path, old, new) in fields(change) {
                    text.push_str(&format!("    {path}: {old} -> {new}\n"));
                }
            }
        }
    }
    text
}

/// Paths, old and new values that differ in spec and labels.
fn fields(change: &ObjectChange) -> Vec<(String, String, String)> {
    let value = |object: &Option<Any>| object.as_ref().and_then(|o| manifest::to_value(o).ok()).unwrap_or_default();
    let (before, after) = (value(&change.before), value(&change.after));
    let mut found = Vec::new();
    for part in ["spec", "metadata"] {
        compare(part, before.get(part), after.get(part), &mut found);
    }
    found.retain(|(path, _, _)| path != "metadata.revision");
    found
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<(String, String, String)>) {
    if old == new {
        return;
    }
    if let (Some(Value::Object(a)), Some(Value::Object(b))) = (old, new) {
        let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for key in keys {
            compare(&format!("{path}.{key}"), a.get(key), b.get(key), found);
        }
        return;
    }
    let shown = |value: Option<&Value>| value.map_or_else(|| "none".to_owned(), Value::to_string);
    found.push((path.to_owned(), shown(old), shown(new)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_each_field_once() {
        let object = |vni: u32| {
            let text = format!(
                "apiVersion: vxmesh/v1\nkind: Network\nmetadata: {{name: blue}}\nspec: {{overlay: o, vni: {vni}}}"
            );
            manifest::parse("f", &text).unwrap().pop()
        };
        let change = |change, before, after| ObjectChange {
            kind: crate::api::objects::Kind::Network,
            name: "blue".to_owned(),
            change,
            before,
            after,
        };
        let changes = vec![change(Verb::Update, object(10), object(11)), change(Verb::Create, None, object(1))];
        let applied = Applied { changes };
        assert_eq!(difference(&applied), "~ network/blue\n    spec.vni: 10 -> 11\n+ network/blue\n");
        assert_eq!(summary(&applied, "Done."), "1 created, 1 changed, 0 unchanged. Done.\n");
    }
}
