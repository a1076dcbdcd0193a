use std::collections::BTreeSet;
use std::fs;

use super::*;

struct Node {
    root: tempfile::TempDir,
    config: Config,
}

/// A node that has written all that it can, and crashed while writing each of it.
fn node(extra: &str) -> Node {
    let root = tempfile::tempdir().unwrap();
    let at = root.path().display();
    let text = format!(
        "management = [\"m:1\"]\n{extra}\n[paths]\nkeys = \"{at}/keys\"\nstate = \"{at}/state\"\nrun = \"{at}/run\"\n"
    );
    let config = Config::parse("meshd.toml", &text).unwrap();
    let node = Node { root, config };
    for (folder, name) in FILES {
        let folder = place(&node.config.paths, *folder);
        fs::create_dir_all(folder).unwrap();
        for name in [(*name).to_owned(), format!(".{name}.4711-0.vxmesh-new"), format!(".{name}.9-12.vxmesh-new")] {
            fs::write(folder.join(name), "x").unwrap();
        }
    }
    for net in ["default/10", "default/11", "second/10"] {
        let path = node.config.paths.state.join(TABLE).join(format!("{net}.json"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "{}").unwrap();
    }
    fs::write(node.config.paths.state.join("table/second/.12.json.1-1.vxmesh-new"), "{").unwrap();
    node
}

impl Node {
    fn rest(&self) -> BTreeSet<String> {
        fn walk(folder: &Path, found: &mut BTreeSet<PathBuf>) {
            for path in inside(folder).unwrap() {
                if path.is_dir() && !path.is_symlink() {
                    walk(&path, found);
                }
                found.insert(path);
            }
        }
        let mut found = BTreeSet::new();
        walk(self.root.path(), &mut found);
        found.iter().map(|path| path.strip_prefix(self.root.path()).unwrap().display().to_string()).collect()
    }
}

#[test]
fn nothing_of_a_node_stays_not_even_its_folders() {
    let node = node("");
    let before = node.rest().len();
    assert!(before > 3 * FILES.len());
    let left = remove(&node.config).unwrap();
    assert_eq!(node.rest(), BTreeSet::new());
    assert_eq!((left.foreign, left.removed > 3 * FILES.len()), (Vec::new(), true));
    assert_eq!(remove(&node.config).unwrap(), Left::default(), "leaving twice is no fault");
}

#[test]
fn what_others_put_there_stays_and_is_named() {
    let node = node("");
    let foreign = [
        "keys/ams-1.psk",
        "keys/.hidden",
        "state/mesh.redb",
        "state/table/notes.txt",
        "state/table/default/10.json.bak",
        "state/table/default/x.json",
        "run/other.sock",
        "keys/tls.crt.old",
        "state/.slice.json.swp",
        "keys/.tls.key.x-1.vxmesh-new",
    ];
    for path in foreign {
        fs::write(node.root.path().join(path), "theirs").unwrap();
    }
    // A folder where a file of ours would be is not ours either.
    fs::remove_file(node.config.paths.state.join(BAD_SLICE)).unwrap();
    fs::create_dir(node.config.paths.state.join(BAD_SLICE)).unwrap();
    let left = remove(&node.config).unwrap();
    let folders = ["keys", "run", "state", "state/slice.json.bad", "state/table", "state/table/default"];
    let expected: BTreeSet<String> = foreign.iter().chain(&folders).map(|path| (*path).to_owned()).collect();
    assert_eq!(node.rest(), expected);
    for path in foreign.iter().filter(|path| !path.contains("table/")) {
        assert!(left.foreign.contains(&node.root.path().join(path)), "{path} is not named in {:?}", left.foreign);
    }
    assert!(left.foreign.contains(&node.root.path().join("state/table")));
}

#[test]
fn a_crash_after_any_step_is_healed_by_leaving_again_and_the_machine_is_out_after_the_first() {
    let all = steps(&node("").config).unwrap().len();
    for done in 0..all {
        let node = node("");
        for step in steps(&node.config).unwrap().iter().take(done) {
            take(step).unwrap();
        }
        assert_eq!(node.config.paths.keys.join(CERTIFICATE).exists(), done < 3, "after {done} steps");
        assert_eq!(node.config.paths.run.join(LOCK).exists(), done < all - 3, "the lock goes last: {done} of {all}");
        remove(&node.config).unwrap();
        assert_eq!(node.rest(), BTreeSet::new(), "after {done} steps");
    }
}

#[test]
fn the_authority_of_a_management_node_on_the_same_machine_stays() {
    let node = node("");
    fs::write(node.config.paths.keys.join(CA_KEY), "x").unwrap();
    remove(&node.config).unwrap();
    let kept: Vec<String> = node.rest().into_iter().filter(|path| path.starts_with("keys/")).collect();
    assert_eq!(kept.iter().filter(|path| path.as_str() == "keys/ca.crt").count(), 1, "{kept:?}");
    assert!(!kept.contains(&format!("keys/{CERTIFICATE}")));
}

#[test]
fn table_files_that_people_wrote_stay() {
    let node = node("[node]\nname = \"a-1\"\n[table]\nsource = \"files\"");
    remove(&node.config).unwrap();
    assert!(node.rest().contains("state/table/default/10.json"), "{:?}", node.rest());
    assert!(!node.config.paths.keys.exists());
}
