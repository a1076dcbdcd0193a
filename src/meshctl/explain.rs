//! `meshctl explain`: why a frame arrives or does not.

use super::missing;
use super::out::{self, Done, Format, Lines, Stop};
use super::remote::{Access, Either};
use crate::api::local::{Arrival, Explanation, Step};
use crate::api::problem::Problem;
use crate::node::explain::{Target, UNEXPLAINED};

/// Ports, as arguments or by name.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Sending port, or an Ethernet or IP address of the guest; the meshd of its own node or a management node knows the answer
    #[arg(value_name = "FROM")]
    sender: Option<Target>,
    /// Port, Ethernet address or IP address that it sends to
    #[arg(value_name = "TO")]
    target: Option<Target>,
    /// What sends, by name
    #[arg(long, conflicts_with = "sender")]
    from: Option<Target>,
    /// What it sends to, by name
    #[arg(long, conflicts_with = "target")]
    to: Option<Target>,
}

/// Runs it. Ends as degraded where the frame does not arrive.
///
/// # Errors
/// The sending port is not known, or nobody answers.
pub(super) async fn run(access: &Access, args: Args) -> Done {
    let from = args.sender.or(args.from).ok_or_else(|| missing("from", "web"))?;
    let to = args.target.or(args.to).ok_or_else(|| missing("to", "db"))?;
    let path = format!("/v1/explain?from={from}&to={to}");
    let answer: Explanation = match access.either()? {
        Either::Node(server) => {
            server.get(&path).await.map_err(|problem| with_mesh(problem, access.has_credential(), &from, &to))?
        }
        Either::Management(server) => server.get(&path).await?,
    };
    match access.output {
        Format::Table => print(&answer)?,
        Format::Json | Format::Yaml => out::value(access.output, &answer)?,
    }
    if answer.may_arrive() { Ok(()) } else { Err(Stop::Degraded) }
}

/// What a node does not know of a port, management does: whoever may ask it here is told so first.
fn with_mesh(mut problem: Problem, credential: bool, from: &Target, to: &Target) -> Problem {
    if credential && problem.code == UNEXPLAINED {
        problem.help.insert(0, format!("meshctl --mesh explain {from} {to}"));
    }
    problem
}

fn print(answer: &Explanation) -> Done {
    let mut lines = Lines::new(&["", "STEP", ""]);
    for (number, step) in answer.steps.iter().enumerate() {
        let text = match step {
            Step { passes: false, .. } => format!("ENDS HERE: {}", step.text),
            Step { open: true, .. } => format!("NOT CERTAIN: {}", step.text),
            Step { .. } => step.text.clone(),
        };
        lines.add([(number + 1).to_string(), step.what.clone(), text]);
    }
    let end = match answer.verdict {
        Arrival::Arrives => "arrives",
        Arrival::NotCertain if answer.steps.iter().any(|step| step.open) => "would arrive; not certain, see below",
        Arrival::NotCertain => "would arrive; whether the path carries now is not known here",
        Arrival::DoesNotArrive => "does not arrive",
    };
    // Who reads the first line alone asked why a ping fails, more often than not.
    let lost = answer.verdict < Arrival::DoesNotArrive && answer.steps.iter().any(|step| step.what == "back");
    let back = if lost { "; the answer may be lost, see back" } else { "" };
    // The header says nothing that the lines do not say themselves.
    let text = lines.text();
    let body = text.split_once('\n').map_or("", |(_, body)| body);
    out::text(&format!("{} on {} -> {}: {end}{back}\n{body}", answer.from, answer.from_node, answer.to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::problem::Exit;

    #[test]
    fn who_may_ask_management_here_is_told_the_command_and_nobody_else_is() {
        let (from, to): (Target, Target) = ("web".parse().unwrap(), "192.168.10.7".parse().unwrap());
        let helps = |code: &str, credential| {
            let problem = Problem::new(code, Exit::NotFound, "no").help("there");
            with_mesh(problem, credential, &from, &to).help
        };
        assert_eq!(helps(UNEXPLAINED, true), ["meshctl --mesh explain web 192.168.10.7", "there"]);
        assert_eq!(helps(UNEXPLAINED, false), ["there"]);
        assert_eq!(helps("M0102", true), ["there"]);
    }
}
