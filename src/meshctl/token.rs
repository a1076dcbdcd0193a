//! `meshctl token`

use hyper::Method;

use super::missing;
use super::objects;
use super::out::{self, Done, Format, Lines};
use super::remote::{Access, Server};
use crate::api::admin::{MadeToken, NewToken};
use crate::api::objects::{Any, Kind};
use crate::api::problem::{Exit, Problem};
use crate::clock;
use crate::config::{Period, manifest};
use crate::types::{NodeId, PdcId, Wall};

/// The verbs of a token. What a token allows is fixed when it is made: there is no `set`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make one; its text on stdout is all that a machine needs to join, and is shown only now
    Create(Create),
    /// All of them, without their secrets
    #[command(visible_alias = "ls")]
    List,
    /// One of them, without its secret
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        /// Its id
        id: String,
    },
    /// Delete it: it cannot be used any more; nodes that joined with it stay
    Delete {
        /// Its id
        id: String,
    },
}

/// Flags of a new token.
#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// PDC of every node that joins with it
    #[arg(long, required_unless_present = "replace")]
    pdc: Option<PdcId>,
    /// How many nodes may join with it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// How long it holds, like 15m or 1h
    #[arg(long, default_value = "1h")]
    ttl: Period,
    /// Names that it may be used for; * stands for any run of characters. Without it: any name that no operator has declared
    #[arg(long, default_value = "*")]
    name: String,
    /// A machine that was installed anew takes the place of this node: ports stay, and the keys that it had are worth nothing as soon as
    /// it joins
    #[arg(long, value_name = "NODE", conflicts_with_all = ["name", "uses"])]
    replace: Option<NodeId>,
}

/// Runs a verb.
///
/// # Errors
/// What the management node refuses.
pub(super) async fn run(access: &Access, command: Command) -> Done {
    let server = access.management()?;
    match command {
        Command::Create(wish) => {
            let body = wanted(&server, wish).await?;
            let taken = taken(&server, &body).await;
            let made: MadeToken = server.call(Method::POST, "/v1/tokens", Some(&body)).await?;
            match access.output {
                Format::Table => {
                    taken.iter().for_each(|line| out::talk(line));
                    out::talk(&told(&body, &made));
                    out::line(&made.token)
                }
                Format::Json | Format::Yaml => out::value(access.output, &made),
            }
        }
        Command::List => print(access.output, &objects::list(&server, Kind::Token).await?, clock::wall()),
        Command::Show { id } => objects::print_one(access.output, &objects::get(&server, Kind::Token, &id).await?),
        Command::Delete { id } => objects::delete(access, &server, Kind::Token, &id, None).await,
    }
}

/// What is asked for; the PDC of a node that is replaced is its own.
async fn wanted(server: &Server, wish: Create) -> Result<NewToken, Problem> {
    let ttl_seconds = wish.ttl.0.as_secs();
    let Some(name) = wish.replace else {
        let pdc = wish.pdc.ok_or_else(|| missing("pdc", "fra"))?;
        return Ok(NewToken { pdc, name_pattern: wish.name, uses: wish.uses, ttl_seconds, replace: false });
    };
    let Any::Node(node) = objects::get(server, Kind::Node, name.as_str()).await? else {
        return Err(Problem::new("M0103", Exit::Failed, "the answer is no node"));
    };
    let pdc = wish.pdc.unwrap_or(node.spec.pdc);
    Ok(NewToken { pdc, name_pattern: name.to_string(), uses: 1, ttl_seconds, replace: true })
}

/// Says so where the token is for one node that has a machine already: another one will be refused.
async fn taken(server: &Server, asked: &NewToken) -> Option<String> {
    let name = asked.name_pattern.parse::<NodeId>().ok().filter(|_| !asked.replace)?;
    // One that does not exist is what a token is made for.
    let Any::Node(node) = objects::get(server, Kind::Node, name.as_str()).await.ok()? else { return None };
    node.status.public_key.is_some().then(|| has_joined(&name))
}

fn has_joined(name: &NodeId) -> String {
    format!(
        "note: node {name} has joined already: with this token only the machine that has its keys may do so again, every other one is refused\n  \
         help: for a machine that takes its place: meshctl token create --replace {name}"
    )
}

/// What to do with the token, for people: a line that can be pasted where the machine is. The token itself is not in it, or it would be seen
/// in the list of processes.
fn told(asked: &NewToken, made: &MadeToken) -> String {
    let name = |name: &str| name.parse::<NodeId>().map_or_else(|_| String::new(), |name| format!(" --name {name}"));
    let what = if asked.replace {
        format!("; who joins with it takes the place of node {}", asked.name_pattern)
    } else {
        String::new()
    };
    let line = format!("meshctl join{}", name(&asked.name_pattern));
    format!(
        "token {}, until {}{what}\non that machine, as root, with the token at its prompt: {line}",
        made.id, made.expires
    )
}

/// Prints a list of tokens.
///
/// # Errors
/// The pipe is closed.
pub(super) fn print(format: Format, items: &[Any], now: Wall) -> Done {
    let mut lines = Lines::new(&["ID", "PDC", "NAMES", "USED", "EXPIRES", "STATE"]);
    for object in items {
        let Any::Token(token) = object else { continue };
        let (spec, used) = (&token.spec, token.status.used.len());
        let state = if spec.expires <= now {
            "expired"
        } else if u32::try_from(used).is_ok_and(|used| used < spec.uses) {
            "open"
        } else {
            "spent"
        };
        let id = token.metadata.name.clone();
        let uses = format!("{used}/{}", spec.uses);
        lines.add([
            id,
            spec.pdc.to_string(),
            spec.name_pattern.clone(),
            uses,
            spec.expires.to_string(),
            state.to_owned(),
        ]);
    }
    let values: Result<Vec<_>, _> = items.iter().map(manifest::to_value).collect();
    let values = values.map_err(|e| Problem::new("M0110", Exit::Failed, e.to_string()))?;
    out::list(format, "token", &values, &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_for_a_node_that_has_joined_leads_to_the_one_that_replaces_it() {
        let text = has_joined(&"b-2".parse().unwrap());
        assert!(text.contains("has joined already") && text.ends_with("meshctl token create --replace b-2"), "{text}");
    }
}
