//! Flags of an MTU policy, of a network or an overlay. They have the words of manifests and of `meshd.toml`.

use std::fmt::Display;
use std::str::FromStr;

use super::word;
use crate::api::problem::{Exit, Problem};
use crate::policy::mtu::{MtuPolicy, Oversize};
use crate::types::Mtu;

/// What is to change of a policy.
#[derive(Debug, clap::Args)]
pub(super) struct MtuFlags {
    /// Guest MTU: auto, a number of bytes, or inherit (network, overlay, node: the next decides) [default: inherit]
    #[arg(long)]
    mtu: Option<MtuFlag>,
    /// What happens to frames larger than the guest MTU: fragment, too-big or drop [default: fragment]
    #[arg(long, value_parser = word::<Oversize>)]
    oversize: Option<Oversize>,
    /// Whether the guest MTU leaves room for an 802.1Q tag of guests [default: false]
    #[arg(long, id = "mtu-vlan", value_name = "BOOL")]
    vlan: Option<bool>,
}

/// `--mtu`
#[derive(Debug, Clone, Copy)]
enum MtuFlag {
    /// Whatever the next one in the order network, overlay, node says.
    Inherit,
    /// Computed.
    Auto,
    /// This.
    Fixed(Mtu),
}

impl FromStr for MtuFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "inherit" | "node" => Ok(Self::Inherit),
            number => number.parse().map(Self::Fixed).map_err(|e: crate::types::NumberError| e.to_string()),
        }
    }
}

impl MtuFlags {
    /// The policy after these flags.
    ///
    /// # Errors
    /// M0511: what is inherited is the whole policy, and this one says more than a number.
    pub(super) fn over(
        self,
        policy: Option<MtuPolicy>,
        kind: &str,
        name: &impl Display,
    ) -> Result<Option<MtuPolicy>, Problem> {
        let Self { mtu, oversize, vlan } = self;
        let told = MtuPolicy::default();
        if let Some(MtuFlag::Inherit) = mtu {
            let wanted = |own: MtuPolicy| oversize.unwrap_or(own.oversize) != told.oversize || vlan.unwrap_or(own.vlan);
            return if wanted(policy.unwrap_or_default()) { Err(inherits_all(kind, name)) } else { Ok(None) };
        }
        if mtu.is_none() && oversize.is_none() && vlan.is_none() {
            return Ok(policy);
        }
        let own = policy.unwrap_or_default();
        let fixed = match mtu {
            Some(MtuFlag::Fixed(mtu)) => Some(mtu),
            Some(MtuFlag::Auto) => None,
            Some(MtuFlag::Inherit) | None => own.fixed,
        };
        let (oversize, vlan) = (oversize.unwrap_or(own.oversize), vlan.unwrap_or(own.vlan));
        Ok(Some(MtuPolicy { fixed, vlan, oversize }))
    }
}

/// The cell of an MTU policy.
pub(super) fn mtu_cell(policy: Option<MtuPolicy>, nobody: &str) -> String {
    match policy {
        None => nobody.to_owned(),
        Some(policy) => policy.fixed.map_or_else(|| "auto".to_owned(), |mtu| mtu.to_string()),
    }
}

fn inherits_all(kind: &str, name: &impl Display) -> Problem {
    let what = format!(
        "{kind} '{name}' would lose its own 'oversize' or 'vlan' with --mtu inherit: a policy is inherited whole"
    );
    Problem::new("M0511", Exit::Invalid, what)
        .note("nothing was changed")
        .help("to inherit all of it: --mtu inherit --oversize fragment --vlan false")
        .help("to keep it: --mtu auto, or a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(mtu: Option<&str>, oversize: Option<Oversize>, vlan: Option<bool>) -> MtuFlags {
        MtuFlags { mtu: mtu.map(|text| text.parse().unwrap()), oversize, vlan }
    }

    fn policy(fixed: Option<u16>, vlan: bool, oversize: Oversize) -> Option<MtuPolicy> {
        Some(MtuPolicy { fixed: fixed.map(|mtu| Mtu::try_from(u64::from(mtu)).unwrap()), vlan, oversize })
    }

    #[test]
    fn each_flag_changes_its_own_part_and_nothing_is_dropped_without_a_word() {
        use Oversize::{Drop, Fragment, TooBig};
        let own = policy(Some(1400), true, TooBig);
        for (given, before, after) in [
            (flags(None, None, None), None, None),
            (flags(None, None, None), own, own),
            (flags(Some("auto"), None, None), None, policy(None, false, Fragment)),
            (flags(Some("auto"), None, None), own, policy(None, true, TooBig)),
            (flags(Some("1300"), None, None), own, policy(Some(1300), true, TooBig)),
            (flags(None, Some(Drop), None), own, policy(Some(1400), true, Drop)),
            (flags(None, Some(TooBig), None), None, policy(None, false, TooBig)),
            (flags(None, None, Some(false)), own, policy(Some(1400), false, TooBig)),
            (flags(Some("inherit"), None, None), policy(Some(1400), false, Fragment), None),
            (flags(Some("inherit"), Some(Fragment), Some(false)), own, None),
        ] {
            let what = format!("{given:?} over {before:?}");
            assert_eq!(given.over(before, "network", &"blue").unwrap(), after, "{what}");
        }
        for given in [
            flags(Some("inherit"), None, None),
            flags(Some("node"), Some(Fragment), None),
            flags(Some("inherit"), None, Some(false)),
        ] {
            assert_eq!(given.over(own, "network", &"blue").unwrap_err().code, "M0511");
        }
        assert_eq!(flags(Some("inherit"), Some(Drop), None).over(None, "network", &"blue").unwrap_err().code, "M0511");
    }
}
