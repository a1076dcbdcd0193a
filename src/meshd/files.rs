//! A node without a management node: its slice from illumos `files` JSON and `[table]` of `meshd.toml`, read again when a file
//! changes. A file that cannot be used leaves the table of before in force.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::disk::{folders, list_tables};
use super::engine::Command;
use super::shared::Shared;
use crate::api::problem::{Exit, Problem};
use crate::config::Source;
use crate::config::meshd::{Config, Table, TableFiles};
use crate::linux::confine::Duty;
use crate::linux::{file, inotify::Inotify};
use crate::node::plan::{Local, Underlay};
use crate::node::unwatched::Eye;
use crate::table::files::{self, Mode, Setting};
use crate::table::{NetKey, Slice};
use crate::types::{NodeId, Psk};

/// Reads the table files of one node.
#[derive(Debug)]
pub struct Tables {
    node: NodeId,
    revision: u64,
}

impl Tables {
    /// For a node of this name.
    pub const fn new(node: NodeId) -> Self {
        Self { node, revision: 0 }
    }

    /// The slice that the files stand for now; none if it is as `old`. `measured` is what counts of what tunnels carry.
    ///
    /// # Errors
    /// A [`Problem`] with the place: a file that is cut, a value that does not fit, a PSK that cannot be read.
    pub fn read(
        &mut self,
        config: &Config,
        local: &Local,
        measured: &BTreeMap<NodeId, u16>,
        old: Option<&Slice>,
    ) -> Result<Option<Slice>, Problem> {
        let Table::Files(declared) = &config.table else { return Ok(None) };
        let files = read_all(&declared.dir)?;
        let psks = psks(declared)?;
        let sides = [&local.admin, &local.external];
        let mtu = |side: &Option<Underlay>| side.as_ref().map_or(super::ETHERNET_MTU, |u| u.mtu);
        let own: Vec<_> = sides.iter().filter_map(|side| side.as_ref().map(|u| u.address)).collect();
        let setting = Setting {
            node: &self.node,
            pdc: config.node.pdc.as_ref(),
            own: &own,
            underlay_mtus: (mtu(&local.admin), mtu(&local.external)),
            measured,
            mtu: config.mtu.policy(),
            declared,
            psks: &psks,
        };
        let mut slice = files::slice(setting, self.revision, &files)?;
        if old == Some(&slice) {
            return Ok(None);
        }
        self.revision += 1;
        slice.version.revision = self.revision;
        Ok(Some(slice))
    }
}

fn read_all(dir: &Path) -> Result<BTreeMap<NetKey, files::File>, Problem> {
    let failed = |e: io::Error| Problem::new("M0343", Exit::Failed, e.to_string());
    let mut all = BTreeMap::new();
    for (net, path) in list_tables(dir).map_err(failed)? {
        let text = String::from_utf8_lossy(&file::read(&path).map_err(failed)?).into_owned();
        let reading = files::read(Source::new(&path.display().to_string(), &text), Mode::Strict)?;
        all.insert(net, reading.file);
    }
    Ok(all)
}

fn psks(declared: &TableFiles) -> Result<BTreeMap<NodeId, Psk>, Problem> {
    let mut psks = BTreeMap::new();
    for peer in &declared.peers {
        let Some(path) = &peer.psk_file else { continue };
        let failed = |why: String| Problem::new("M0343", Exit::Failed, why).help("wg genpsk > FILE, chmod 0600 FILE");
        let text = file::read_secret(path).map_err(|e| failed(e.to_string()))?;
        let psk = text.parse::<Psk>().map_err(|e| failed(format!("{}: {e}", path.display())))?;
        psks.insert(peer.name.clone(), psk);
    }
    Ok(psks)
}

/// Starts a thread that tells the engine whenever something below `dir` may have changed. It ends with the engine.
///
/// # Errors
/// The system's: no inotify, no thread.
pub fn watch(dir: &Path, engine: Sender<Command>, shared: &Arc<Shared>) -> io::Result<()> {
    let watch = Inotify::new()?;
    let (dir, shared) = (dir.to_owned(), Arc::clone(shared));
    std::thread::Builder::new().name("table-files".into()).spawn(move || {
        let eye = shared.watcher(Eye::Files);
        super::run::hold(Duty::Front, &shared);
        loop {
            // Watching a folder again changes nothing; a new one is watched from here on.
            let _ = watch.add(&dir);
            for folder in folders(&dir).unwrap_or_default() {
                let _ = watch.add(&folder);
            }
            if engine.send(Command::Files).is_err() {
                return;
            }
            if let Err(error) = watch.wait() {
                return eye.ends(&error);
            }
        }
    })?;
    Ok(())
}
