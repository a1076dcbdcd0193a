//! `[offload]` held against what this machine can do: looked at once, before the first lane starts.

use super::held::Held;
use super::look::{Before, look};
use super::shared::Shared;
use crate::config::meshd::Config;
use crate::linux;
use crate::policy::offload::{Feature, Offload, decide};
use crate::types::IfName;

/// What was found and decided.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// What lanes use.
    pub offload: Offload,
    /// A line for each offload.
    pub features: Vec<Feature>,
}

/// Looks at the machine. Makes a TAP for a moment and sends nothing.
pub fn check(config: &Config) -> Checked {
    let held = Held::read(&config.paths.state);
    let local = look(config, &Before { held, inside: Vec::new() }).local;
    let mut interfaces: Vec<IfName> =
        [local.admin, local.external].into_iter().flatten().map(|u| u.interface).collect();
    interfaces.dedup();
    let seen = linux::offload::look(interfaces);
    let (offload, features) = decide(config.offload, &seen);
    Checked { offload, features }
}

impl Checked {
    /// Keeps it for `meshctl status`, and says what is not used.
    pub fn tell(self, shared: &Shared) {
        for feature in &self.features {
            let Some(why) = &feature.why else { continue };
            let help = feature.help.as_deref().unwrap_or_default();
            let text = format!("{} {}: {why}; {help}", feature.name, feature.state.word());
            if feature.chosen { shared.events.info("offload", text) } else { shared.events.warn("offload", text) }
        }
        shared.view().offload = self.features;
    }
}
