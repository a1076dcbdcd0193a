//! `meshctl events`: what happened on this node, or who changed what in the mesh.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::objects;
use super::out::{self, Done, Format, Lines};
use super::remote::{Access, Either, Server};
use crate::api::admin::{AuditChange, AuditEvent, Events, Verb};
use crate::api::local::Event;
use crate::api::objects::Kind;
use crate::api::problem::{Exit, Problem};
use crate::clock;
use crate::config::{Period, dates, nearest};
use crate::types::{NodeId, Wall};

/// How often it is looked for new ones.
const LOOK: Duration = Duration::from_secs(1);

/// Flags.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only the newest N
    #[arg(short = 'n', long, default_value_t = 50)]
    last: usize,
    /// Only those of this kind, as the column KIND has it
    #[arg(long)]
    kind: Option<String>,
    /// Only those of the last while: 90s, 10m, 2h, 1d
    #[arg(long, value_parser = ago)]
    since: Option<Duration>,
    /// Only those of the mesh that name this node
    #[arg(long)]
    node: Option<NodeId>,
    /// Go on with what happens from now on, until it is interrupted
    #[arg(short, long)]
    follow: bool,
}

/// Kinds of entries whose fields are shown with their sentence.
const TOLD: [&str; 3] = ["update", "apply", "facts"];
/// Fields of an entry that are shown; all of them: `-o json`.
const FIELDS: usize = 4;

/// One event as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    at: Wall,
    kind: String,
    /// The columns behind the time.
    cells: Vec<String>,
    value: Value,
}

impl Shown {
    /// Is it about this node, or by it?
    fn names(&self, node: &NodeId) -> bool {
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
        self.cells.iter().any(|cell| cell.split(word).any(|word| word == node.as_str()))
    }
}

/// Whose events.
enum Source {
    Node(Server),
    Mesh(Server),
}

/// How long ago; a point in time is none.
fn ago(text: &str) -> Result<Duration, String> {
    let shown: String = text.chars().take(40).collect();
    let not = || format!("'{shown}' is not a length of time before now (like 90s, 10m, 2h, 1d)");
    text.parse::<Period>().map(|period| period.0).map_err(|why| if why.contains("unit") { why } else { not() })
}

/// Runs it: the events of this node, or with --management the audit log.
///
/// # Errors
/// Nobody answers.
pub(super) async fn run(access: &Access, args: Args) -> Done {
    let whom = if args.node.is_some() { Either::Management(access.management()?) } else { access.either()? };
    let source = match whom {
        Either::Node(server) => Source::Node(server),
        Either::Management(server) => Source::Mesh(server),
    };
    let mut seen = source.all().await?;
    if let (Some(node), Source::Mesh(server)) = (&args.node, &source)
        && !seen.iter().any(|event| event.names(node))
    {
        // A slip, or a node of which nothing is known any more: the server says which, and what it is near to.
        server.get::<Value>(&objects::path(Kind::Node, node.as_str())?).await?;
    }
    let since = args
        .since
        .map_or_else(Wall::default, |ago| Wall::from_secs(clock::wall().as_secs().saturating_sub(ago.as_secs())));
    let wanted = |event: &&Shown| {
        let kind = args.kind.as_ref().is_none_or(|kind| event.kind == *kind);
        kind && event.at >= since && args.node.as_ref().is_none_or(|node| event.names(node))
    };
    let chosen: Vec<&Shown> = seen.iter().filter(wanted).collect();
    let first = chosen.len().saturating_sub(args.last);
    if let Some(kind) = args.kind.as_ref().filter(|kind| seen.iter().all(|event| event.kind != **kind)) {
        out::talk(&unknown(kind, seen.iter().map(|event| event.kind.as_str())));
    }
    source.show(access.output, chosen.get(first..).unwrap_or_default())?;
    if !args.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(LOOK).await;
        let now = source.all().await?;
        for event in new(&seen, &now).iter().filter(wanted) {
            source.line(access.output, event)?;
        }
        seen = now;
    }
}

/// Of a kind of which nothing is there: those of which something is.
fn unknown<'a>(kind: &str, seen: impl Iterator<Item = &'a str> + Clone) -> String {
    let kinds: BTreeSet<&str> = seen.clone().collect();
    let near =
        nearest(kind, kinds.iter().copied()).map_or_else(String::new, |near| format!(", did you mean '{near}'?"));
    let kinds = kinds.into_iter().collect::<Vec<_>>().join(", ");
    format!("note: nothing of kind '{kind}' has happened{near}; of these kinds something has: {kinds}")
}

/// Those that came behind the last of before. Where that one is gone, more have come than are kept: all are new.
fn new<'a>(before: &[Shown], now: &'a [Shown]) -> &'a [Shown] {
    let Some(last) = before.last() else { return now };
    // Events may be alike; as many of them as there were are known.
    let known = before.iter().rev().take_while(|event| *event == last).count();
    let places: Vec<usize> = (0..now.len()).filter(|at| now.get(*at) == Some(last)).collect();
    let end = places.get(known.min(places.len()).wrapping_sub(1)).map_or(0, |at| at + 1);
    now.get(end..).unwrap_or_default()
}

impl Source {
    const fn columns(&self) -> &'static [&'static str] {
        match self {
            Self::Node(_) => &["AT", "KIND", "WHAT"],
            Self::Mesh(_) => &["AT", "WHO", "FROM", "KIND", "WHAT"],
        }
    }

    /// All that are kept, oldest first.
    async fn all(&self) -> Result<Vec<Shown>, out::Stop> {
        let failed = |error: serde_json::Error| Problem::new("M0110", Exit::Failed, error.to_string());
        match self {
            Self::Node(server) => {
                let events: Vec<Event> = server.get("/v1/events").await?;
                let shown = events.into_iter().map(|event| {
                    let value = dated(&event)?;
                    let cells = vec![event.kind.clone(), event.text];
                    Ok(Shown { at: event.at, kind: event.kind, cells, value })
                });
                Ok(shown.collect::<Result<_, _>>().map_err(failed)?)
            }
            Self::Mesh(server) => {
                let events: Events = server.get("/v1/events").await?;
                let shown = events.items.into_iter().map(|event| {
                    let value = dated(&event)?;
                    let text = format!("{}{}", event.text, fields(&event));
                    let cells = vec![event.who, event.from, event.what.clone(), text];
                    Ok(Shown { at: event.at, kind: event.what, cells, value })
                });
                Ok(shown.collect::<Result<_, _>>().map_err(failed)?)
            }
        }
    }

    fn show(&self, format: Format, events: &[&Shown]) -> Done {
        let mut lines = Lines::new(self.columns());
        events.iter().for_each(|event| lines.add(cells(event)));
        out::list(format, "event", &events.iter().map(|event| &event.value).collect::<Vec<_>>(), &lines)
    }

    /// One that came later: a line of its own, in JSON too.
    fn line(&self, format: Format, event: &Shown) -> Done {
        match format {
            Format::Table => out::line(&cells(event).collect::<Vec<_>>().join("  ")),
            Format::Json => out::line(&event.value.to_string()),
            Format::Yaml => out::value(format, &event.value),
        }
    }
}

/// Which field was what and is what now, where an entry is about few of them. Where a node moved, the sentence says it.
fn fields(event: &AuditEvent) -> String {
    if !TOLD.contains(&event.what.as_str()) {
        return String::new();
    }
    let plain = |value: &str| if value.is_empty() { "none".to_owned() } else { value.trim_matches('"').to_owned() };
    let of = |change: &AuditChange| {
        let name = if event.changes.len() > 1 { format!("{} {} ", change.kind, change.name) } else { String::new() };
        let line = |(field, old, new): &(String, String, String)| {
            let short = field.trim_start_matches("spec.").trim_start_matches("status.");
            format!("{name}{short} {} -> {}", plain(old), plain(new))
        };
        change.fields.iter().map(line).collect::<Vec<_>>()
    };
    let updates = event.changes.iter().filter(|change| change.change == Verb::Update);
    let all: Vec<String> = updates.flat_map(of).collect();
    let more = all.len().saturating_sub(FIELDS);
    let shown = all.into_iter().take(FIELDS).collect::<Vec<_>>().join(", ");
    match (shown.is_empty(), more) {
        (true, _) => shown,
        (false, 0) => format!(": {shown}"),
        (false, more) => format!(": {shown}, and {more} more"),
    }
}

/// An event as it is printed for programs.
fn dated(event: &impl serde::Serialize) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(event)?;
    dates::readable(&mut value);
    Ok(value)
}

fn cells(event: &Shown) -> impl Iterator<Item = String> + '_ {
    std::iter::once(event.at.to_string()).chain(event.cells.iter().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(texts: &str) -> Vec<Shown> {
        let shown = |text: char| Shown {
            at: Wall::from_secs(1),
            kind: "k".into(),
            cells: vec![text.to_string()],
            value: Value::from(text.to_string()),
        };
        texts.chars().map(shown).collect()
    }

    #[test]
    fn a_kind_of_which_nothing_is_there_names_those_of_which_something_is() {
        let text = unknown("problm", ["problem", "solved", "problem"].into_iter());
        assert!(text.contains("did you mean 'problem'?") && text.ends_with(": problem, solved"), "{text}");
    }

    #[test]
    fn a_point_in_time_is_no_length_of_time_and_that_is_said() {
        assert_eq!(ago("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["yesterday", "2026-01-01", "noon", "1 fortnight"] {
            assert!(ago(wrong).unwrap_err().contains("like 90s, 10m, 2h, 1d"), "{wrong}");
        }
        assert!(ago("90").unwrap_err().contains("unit"));
    }

    #[test]
    fn an_entry_says_which_field_was_what_and_a_long_one_how_many_more() {
        let field = |n: usize| {
            (format!("status.facts.f{n}"), "\"old\"".to_owned(), if n == 0 { String::new() } else { n.to_string() })
        };
        let change = |name: &str, count: usize, verb: Verb| AuditChange {
            kind: Kind::Node,
            name: name.to_owned(),
            change: verb,
            fields: (0..count).map(field).collect(),
        };
        let event = |what: &str, changes: Vec<AuditChange>| AuditEvent {
            at: Wall::from_secs(1),
            who: "node/a-1".into(),
            from: String::new(),
            what: what.into(),
            text: String::new(),
            changes,
        };
        let say = |what, changes| fields(&event(what, changes));
        assert_eq!(say("facts", vec![change("a-1", 2, Verb::Update)]), ": facts.f0 old -> none, facts.f1 old -> 1");
        let two = vec![change("a-1", 1, Verb::Update), change("a-2", 9, Verb::Update)];
        let said = say("apply", two);
        assert!(
            said.starts_with(": node a-1 facts.f0 old -> none, node a-2 facts.f0") && said.ends_with(", and 6 more"),
            "{said}"
        );
        assert_eq!(say("apply", vec![change("a-1", 3, Verb::Create)]), "", "what is new was nothing");
        assert_eq!(say("enroll", vec![change("a-1", 3, Verb::Update)]), "", "its sentence says it");
    }

    #[test]
    fn what_is_new_is_what_came_behind_the_last_of_before() {
        for (before, now, expected) in [
            ("", "", ""),
            ("", "ab", "ab"),
            ("ab", "ab", ""),
            ("ab", "abc", "c"),
            ("ab", "bcd", "cd"),
            ("ab", "abb", "b"),
            ("abb", "abb", ""),
            ("abb", "abbb", "b"),
            ("ab", "xyz", "xyz"),
        ] {
            assert_eq!(new(&events(before), &events(now)), events(expected), "{before} then {now}");
        }
    }
}
