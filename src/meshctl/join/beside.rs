//! A node on the machine of the management node: the two have folders of their own, for the server is another user, and neither may open
//! what is the other's.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::api::problem::{Exit, Problem};
use crate::linux::file;

/// Where a management node has its keys where nobody says otherwise, as a node has.
pub(super) const KEYS: &str = "/etc/vxmesh/keys";
/// What `meshd.toml` says on such a machine.
pub(super) const PATHS: &str = "\n# The management node on this machine has the usual folders.\n[paths]\nkeys = \"/etc/vxmesh/node\"\nstate = \"/var/lib/vxmesh-node\"\n";
/// What the unit of `meshd` says on such a machine.
pub(super) const UNIT: &str = "/etc/systemd/system/meshd.service.d/beside-meshmgr.conf";
const UNIT_TEXT: &str = "# Written by meshctl join: a management node is on this machine, and its folders are not this unit's.\n[Service]\nStateDirectory=\nStateDirectory=vxmesh-node\nReadWritePaths=-/etc/vxmesh/node\n";
/// The file that tells a management node.
const CA_KEY: &str = "ca.key";

/// Is this the keys folder of a management node?
pub(super) fn management(keys: &Path) -> bool {
    keys.join(CA_KEY).exists()
}

/// Refuses the keys folder of a management node that runs as another user: what root writes there that user cannot open, and what is made
/// root's is lost to it.
///
/// # Errors
/// M0131.
pub(super) fn refuse(keys: &Path) -> Result<(), Problem> {
    let owner = std::fs::metadata(keys).map_or(0, |found| found.uid());
    if owner == 0 || !management(keys) {
        return Ok(());
    }
    let what = format!("{} is the keys folder of a management node, which runs as user {owner}", keys.display());
    Err(Problem::new("M0131", Exit::Conflict, what)
        .note("nothing was changed")
        .help("give the node folders of its own, in meshd.toml: [paths] with keys = \"/etc/vxmesh/node\" and state = \"/var/lib/vxmesh-node\""))
}

/// Writes what the unit needs beside a management node.
///
/// # Errors
/// M0601.
pub(super) fn write_unit(path: &Path) -> Result<(), Problem> {
    let folder = path.parent().unwrap_or(path);
    let written = file::ensure_dir(folder, 0o755).and_then(|()| file::write(path, UNIT_TEXT.as_bytes(), 0o644));
    written.map_err(|e| Problem::new("M0601", Exit::Failed, e.to_string()).help("join again: the same token works"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::meshd::Config;

    #[test]
    fn a_node_beside_a_management_node_has_folders_of_its_own() {
        let config = Config::parse("f", &format!("management = [\"m:1\"]\n{PATHS}")).unwrap();
        let usual = Config::parse("f", "management = [\"m:1\"]").unwrap();
        assert_ne!(config.paths.keys, usual.paths.keys);
        assert_ne!(config.paths.state, usual.paths.state);
        let state = config.paths.state.file_name().unwrap().to_str().unwrap();
        assert!(UNIT_TEXT.contains(&format!("StateDirectory={state}\n")));
        assert!(UNIT_TEXT.contains(&format!("ReadWritePaths=-{}\n", config.paths.keys.display())));
        assert_eq!(usual.paths.keys, Path::new(KEYS));
    }

    #[test]
    fn the_folder_of_another_users_management_node_is_refused_and_nobodys_and_ones_own_are_not() {
        let folder = tempfile::tempdir().unwrap();
        assert!(refuse(&folder.path().join("none")).is_ok() && refuse(folder.path()).is_ok());
        std::fs::write(folder.path().join(CA_KEY), "x").unwrap();
        assert!(management(folder.path()));
        let own = refuse(folder.path());
        if std::os::unix::fs::chown(folder.path(), Some(65_534), None).is_err() {
            return;
        }
        assert!(own.is_ok(), "root's own");
        let refused = refuse(folder.path()).unwrap_err();
        assert!(refused.code == "M0131" && !refused.to_string().contains("chown"), "{refused}");
    }

    #[test]
    fn the_unit_gets_its_lines_and_leaves_nothing_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meshd.service.d/beside.conf");
        write_unit(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), UNIT_TEXT);
    }
}
