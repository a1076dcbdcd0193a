//! Backups: made while the server runs and while it does not, put back with a higher incarnation, and refused where they must be.

use super::super::backup;
use super::*;
use crate::config::meshmgr::Config;

/// An installation on disk without a server, and its configuration.
fn installation(address: &str) -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display();
    let text = format!(
        "listen = '{address}'\naddresses = ['{address}']\n[paths]\nkeys = '{root}/keys'\nstate = '{root}/state'\n"
    );
    let config = Config::parse("meshmgr.toml", &text).unwrap();
    serve::begin(&serve::open_store(&config.paths.state).unwrap(), &config.paths.state).unwrap();
    keys::make(&config.paths.keys, &[], Lives::default(), crate::clock::wall()).unwrap();
    (folder, config)
}

fn load(config: &Config) -> Core {
    Core::load(Arc::new(serve::open_store(&config.paths.state).unwrap())).unwrap()
}

fn change(config: &Config, pdc: &str) -> Version {
    let core = load(config);
    let edit = crate::mgmt::state::Edit::create(Any::Pdc(fixture::pdc(pdc, "10.9.0.0/24")));
    core.change(|_| Ok(super::super::core::Plan { edits: vec![edit.clone()], event: None, answer: () })).unwrap();
    core.view().version
}

fn pdcs(core: &Core) -> Vec<String> {
    core.view().index.state.pdcs.keys().map(ToString::to_string).collect()
}

/// An address where nobody listens.
fn nobody() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn what_is_put_back_is_what_was_and_newer_than_what_came_since() {
    let (folder, config) = installation(&nobody());
    let file = folder.path().join("yesterday");
    change(&config, "old");
    let told = backup::make(&config, &file).unwrap();
    assert!(told.contains("version 1/2, 1 objects") && told.contains("keys are not in it"), "{told}");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = std::fs::read_to_string(config.paths.keys.join("ca.key")).unwrap();
    let inside = secret.lines().nth(1).unwrap();
    assert!(!std::fs::read_to_string(&file).unwrap().contains(inside), "no key is in it");

    let newest = change(&config, "new");
    let told = backup::restore(&config, &file, std::path::Path::new("/root/typed.backup")).unwrap();
    assert!(told.contains("incarnation 2") && told.contains("before-restore-1-3.backup"), "{told}");
    let core = load(&config);
    assert_eq!(pdcs(&core), ["old"]);
    assert!(core.view().version > newest && core.view().version.incarnation == 2, "{}", core.view().version);
    let named = |event: &crate::api::admin::AuditEvent| {
        event.what == "restore" && format!("{event:?}").contains(" from /root/typed.backup, ")
    };
    assert!(core.events().unwrap().iter().any(named), "{:?}", core.events());
    drop(core);
    // What was there before can be put back too, and is newer again.
    let kept = config.paths.state.join("before-restore-1-3.backup");
    backup::restore(&config, &kept, &kept).unwrap();
    let core = load(&config);
    assert_eq!((pdcs(&core), core.view().version.incarnation), (vec!["new".to_owned(), "old".to_owned()], 3));
}

#[test]
fn what_cannot_be_put_back_changes_nothing() {
    let ((folder, config), (other_folder, other)) = (installation(&nobody()), installation(&nobody()));
    let (file, foreign) = (folder.path().join("good"), other_folder.path().join("foreign"));
    change(&config, "old");
    backup::make(&config, &file).unwrap();
    backup::make(&other, &foreign).unwrap();
    let refused = |path: &std::path::Path, code: &str| {
        let problem = backup::restore(&config, path, path).unwrap_err();
        assert_eq!(problem.code, code, "{problem}");
        assert!(problem.notes.iter().any(|note| note == "nothing was changed"), "{problem}");
    };
    refused(&foreign, "M0709");
    refused(&folder.path().join("absent"), "M0606");
    let text = std::fs::read(&file).unwrap();
    let cut = folder.path().join("cut");
    for length in [0, 10, text.len() / 2, text.len() - 2] {
        std::fs::write(&cut, &text[..length]).unwrap();
        refused(&cut, "M0708");
    }
    let running = load(&config);
    refused(&file, "M0704");
    assert_eq!((pdcs(&running), running.view().version.incarnation), (vec!["old".to_owned()], 1));
    drop(running);
    assert_eq!(
        backup::make(
            &Config {
                paths: crate::config::meshmgr::Paths { state: folder.path().join("none"), ..config.paths.clone() },
                ..config.clone()
            },
            &cut
        )
        .unwrap_err()
        .code,
        "M0606"
    );
}

#[test]
fn a_damaged_store_is_set_aside_for_its_backup() {
    let (folder, config) = installation(&nobody());
    let file = folder.path().join("good");
    change(&config, "old");
    backup::make(&config, &file).unwrap();
    let store = config.paths.state.join(serve::STORE);
    std::fs::write(&store, vec![7; 100_000]).unwrap();
    let told = backup::restore(&config, &file, &file).unwrap();
    assert!(told.contains("damaged store is kept as"), "{told}");
    let core = load(&config);
    assert_eq!((pdcs(&core), core.view().version.incarnation), (vec!["old".to_owned()], 2));
    let kept = std::fs::read_dir(&config.paths.state).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(kept.into_iter().any(|name| name.to_string_lossy().contains(".damaged-")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_gives_its_backup_to_who_has_its_keys() {
    let world = World::new().await;
    world.join("a-1", 1).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("now");
    let root = world.folder.path().display();
    let text = format!(
        "listen = '{0}'\naddresses = ['{0}']\n[paths]\nkeys = '{root}/keys'\nstate = '{root}/state'\n",
        world.address
    );
    let config = Config::parse("meshmgr.toml", &text).unwrap();
    let (asking, into) = (config.clone(), file.clone());
    let told = tokio::task::spawn_blocking(move || backup::make(&asking, &into)).await.unwrap().unwrap();
    assert!(told.contains("objects"), "{told}");
    let text = std::fs::read_to_string(&file).unwrap();
    let read = crate::mgmt::backup::read(&text).unwrap();
    assert!(read.entries.contains_key("node/a-1") && read.entries.contains_key("network/blue"));
    assert!(world.log().await.iter().any(|(what, _)| what == "backup"));
    let running =
        tokio::task::spawn_blocking(move || backup::restore(&config, &file, &file)).await.unwrap().unwrap_err();
    assert!(running.code == "M0704" && running.to_string().contains("systemctl stop meshmgr"), "{running}");
}

/// Somebody copied yesterday's file back instead.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_set_back_is_noticed_by_the_first_node_that_comes() {
    let world = World::new().await;
    let node = world.join("a-1", 1).await;
    let client = world.node(&node);
    let from = |version: Version| {
        run_of(&format!("/v1/slice?incarnation={}&revision={}&hash=ab", version.incarnation, version.revision))
    };
    let here = world.app.core.view().version;
    let later = Version { revision: here.revision + 9, ..here };
    for _ in 0..3 {
        let mut lines = client.lines(&from(later)).await.unwrap();
        assert!(snapshot(&mut lines).await.version <= here, "it is sent, and the node refuses it");
    }
    let status: MeshStatus = world.get("/v1/status").await;
    let found = status.problems.iter().find(|problem| problem.code == "M0711").expect("a finding");
    assert!(found.what.contains(&format!("node a-1 has seen version {later}")), "{found:?}");
    let noted = world.log().await.into_iter().filter(|(what, _)| what == "store-set-back").count();
    assert_eq!(noted, 1, "noted once, not at each attempt");
    let mut lines = client.lines(&from(here)).await.unwrap();
    snapshot(&mut lines).await;
    let status: MeshStatus = world.get("/v1/status").await;
    assert!(status.problems.iter().all(|problem| problem.code != "M0711"), "over when the node follows again");
}
