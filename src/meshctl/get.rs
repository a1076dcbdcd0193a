//! `meshctl get KIND [NAME]`: objects as a table, or as the manifests that `apply` takes back.

use super::labels::{self, Label};
use super::objects;
use super::out::{self, Done, Format};
use super::remote::Access;
use super::{network, node, overlay, pdc, policy, port, token};
use crate::api::objects::{Any, Kind};
use crate::api::problem::{Exit, Problem};
use crate::clock;
use crate::config::{manifest, nearest};

/// Flags.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// pdc, node, overlay, network, port, policy, token, or all
    #[arg(value_parser = kinds)]
    kind: Kinds,
    /// Only this one
    name: Option<String>,
    /// Only those with this label; may be given several times
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<Label>,
}

/// One kind or several.
#[derive(Debug, Clone)]
struct Kinds(Vec<Kind>);

fn kinds(text: &str) -> Result<Kinds, String> {
    let word = text.to_ascii_lowercase();
    if word == "all" {
        // Tokens are not declared, they are made: their manifests could not be applied again.
        return Ok(Kinds(Kind::ALL.into_iter().filter(|kind| *kind != Kind::Token).collect()));
    }
    let spellings = |kind: Kind| match kind {
        Kind::PathPolicy => [kind.word(), "policy", "policies", "pathpolicies"],
        Kind::Pdc | Kind::Node | Kind::Overlay | Kind::Network | Kind::Port | Kind::Token => [kind.word(), "", "", ""],
    };
    let fits = |kind: &Kind| {
        let plural = word.strip_suffix('s').unwrap_or(&word);
        spellings(*kind).iter().any(|known| !known.is_empty() && (*known == word || *known == plural))
    };
    Kind::ALL.into_iter().find(fits).map(|kind| Kinds(vec![kind])).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::called);
        let near = nearest(&word, known).map_or_else(String::new, |near| format!("did you mean '{near}'? "));
        format!("{near}known: {}, all", known.join(", "))
    })
}

/// Runs it.
///
/// # Errors
/// What the management node refuses.
pub(super) async fn run(access: &Access, args: Args) -> Done {
    let server = access.management()?;
    let Kinds(kinds) = args.kind;
    let mut all = Vec::new();
    for (n, kind) in kinds.iter().enumerate() {
        let mut items = match &args.name {
            Some(name) => vec![objects::get(&server, *kind, name).await?],
            None => objects::list(&server, *kind).await?,
        };
        items.retain(|object| labels::fit(object, &args.label));
        if access.output == Format::Table {
            if kinds.len() > 1 && !items.is_empty() {
                out::text(&format!("{}{kind}:\n", if n == 0 { "" } else { "\n" }))?;
            }
            if kinds.len() == 1 || !items.is_empty() {
                print(access.output, *kind, &items)?;
            }
        }
        all.extend(items);
    }
    match (access.output, kinds.as_slice()) {
        (Format::Table, _) => Ok(()),
        (Format::Yaml, _) => documents(&all),
        (Format::Json, [kind]) => print(Format::Json, *kind, &all),
        (Format::Json, _) => {
            let values: Result<Vec<_>, _> = all.iter().map(manifest::to_value).collect();
            let values = values.map_err(|e| Problem::new("M0110", Exit::Failed, e.to_string()))?;
            out::value(Format::Json, &out::envelope("list", &values)?)
        }
    }
}

fn print(format: Format, kind: Kind, items: &[Any]) -> Done {
    match kind {
        Kind::Pdc => objects::print_list::<pdc::Fields>(format, items),
        Kind::Node => objects::print_list::<node::Fields>(format, items),
        Kind::Overlay => objects::print_list::<overlay::Fields>(format, items),
        Kind::Network => objects::print_list::<network::Fields>(format, items),
        Kind::Port => objects::print_list::<port::Fields>(format, items),
        Kind::PathPolicy => objects::print_list::<policy::Fields>(format, items),
        Kind::Token => token::print(format, items, clock::wall()),
    }
}

/// One YAML document each, so that the output is a manifest.
fn documents(items: &[Any]) -> Done {
    let mut text = String::new();
    for object in items {
        let yaml = manifest::to_yaml(object).map_err(|e| Problem::new("M0110", Exit::Failed, e))?;
        text.push_str(&format!("---\n{}\n", yaml.trim_end()));
    }
    out::text(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_in_singular_and_plural() {
        for (text, kind) in [("network", Kind::Network), ("Networks", Kind::Network), ("policies", Kind::PathPolicy)] {
            assert_eq!(kinds(text).unwrap().0, [kind]);
        }
        assert!(kinds("netwrok").unwrap_err().starts_with("did you mean 'network'?"));
        assert_eq!(kinds("all").unwrap().0.len(), 6);
    }
}
