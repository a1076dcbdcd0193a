//! What the engine remembers of plugs ([`crate::node::plugs`]), over restarts: file `plugs` in the run folder, which ends with the
//! machine's start as interfaces do. What cannot be read does not count.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::events::{Events, Tone};
use super::kernel::Kernel;
use crate::linux::{KernelError, file};
use crate::node::desired::{Desired, Observed};
use crate::node::op::Op;
use crate::node::plugs::{self, MOST, Plug, Plugs};
use crate::table::Slice;
use crate::types::IfName;

/// File in the run folder.
pub(super) const PLUGS: &str = "plugs";

/// What is remembered, and where it is written.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    plugs: Plugs,
    /// What was written last.
    written: BTreeMap<IfName, Plug>,
}

impl Memory {
    /// What is on disk.
    pub(super) fn read(run: &Path) -> Self {
        let path = run.join(PLUGS);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let (start, lines) = text.split_once('\n').unwrap_or_default();
        let known: BTreeMap<IfName, Plug> =
            if start == this_start() { serde_json::from_str(lines).unwrap_or_default() } else { BTreeMap::new() };
        let known: BTreeMap<IfName, Plug> = known.into_iter().take(MOST).collect();
        Self { path, plugs: Plugs::with(known.clone()), written: known }
    }

    /// What the engine knows.
    pub(super) const fn plugs(&self) -> &Plugs {
        &self.plugs
    }

    /// What the kernel did not take is tried again.
    pub(super) fn begin(&mut self) {
        self.plugs.forgive();
    }

    /// Gives bridges their names back, remembers what stands where, and says what is to be plugged once the bridges are right.
    pub(super) fn look<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slice: &Slice,
        desired: &Desired,
        observed: &mut Observed,
        events: &Events,
    ) -> Result<Vec<Op>, KernelError> {
        self.plugs.learn(slice, observed);
        self.write();
        let renames = plugs::renames(desired, observed);
        for op in &renames {
            let done = kernel.apply(std::slice::from_ref(op));
            if let Err(error) = done {
                // It is made anew then, and its guests follow.
                tracing::warn!("{op}: {error}");
                continue;
            }
            events.by_others(Tone::Wrong, "drift", "repaired", format!("repaired: {op}"));
        }
        if !renames.is_empty() {
            *observed = kernel.observe()?;
            self.plugs.learn(slice, observed);
        }
        Ok(self.plugs.steps(slice, desired, observed))
    }

    /// Plugs them where the steps before, of which this is the `outcome`, have left their bridges as they should be. What cannot be plugged holds up
    /// nothing else; it is a finding.
    pub(super) fn plug<K: Kernel>(
        &mut self,
        kernel: &mut K,
        steps: &[Op],
        (observed, outcome): (&Observed, &Result<(), KernelError>),
        events: &Events,
    ) {
        for op in steps {
            let Op::Plug { name, bridge } = op else { continue };
            if !stands(bridge, outcome) {
                continue;
            }
            match kernel.apply(std::slice::from_ref(op)) {
                Ok(()) => {
                    let text = format!("{name} was put into {bridge}");
                    events.by_others(Tone::Fine, "plugged", name.as_str(), text);
                }
                Err(KernelError::Op { why, .. }) => self.plugs.refuse(name, observed, why),
                Err(error) => self.plugs.refuse(name, observed, error.to_string()),
            }
        }
    }

    fn write(&mut self) {
        if *self.plugs.known() == self.written {
            return;
        }
        self.written = self.plugs.known().clone();
        let json = serde_json::to_string(&self.written).unwrap_or_default();
        if let Err(error) = file::write(&self.path, format!("{}\n{json}", this_start()).as_bytes(), 0o600) {
            tracing::warn!("{error}");
        }
    }
}

/// True where a bridge is as it should be, its filters with it: a step that was refused on another device does not concern it.
fn stands(bridge: &IfName, outcome: &Result<(), KernelError>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(error) => error.devices().is_some_and(|devices| !devices.contains_key(bridge)),
    }
}

/// Numbers of interfaces begin anew with the machine.
pub(super) fn this_start() -> String {
    let start = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    start.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_there_after_a_restart_and_anything_else_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Memory::read(folder.path()).written.is_empty());
        let plug = Plug {
            index: 7,
            net: "default/10".parse().unwrap(),
            network: "blue".parse().ok(),
            bridge: "vb10.12b5".parse().unwrap(),
            bridge_index: 3,
        };
        let known = BTreeMap::from([("tap0".parse().unwrap(), plug)]);
        let mut memory = Memory::read(folder.path());
        memory.plugs = Plugs::with(known.clone());
        memory.write();
        assert_eq!(Memory::read(folder.path()).plugs.known(), &known);
        let text = std::fs::read_to_string(folder.path().join(PLUGS)).unwrap();
        for damaged in ["", "\n", "{}", "\0\0\n{}", &text.replacen(&this_start(), "another start", 1), &text[..60]] {
            std::fs::write(folder.path().join(PLUGS), damaged).unwrap();
            assert!(Memory::read(folder.path()).written.is_empty(), "{damaged:?}");
        }
    }
}
