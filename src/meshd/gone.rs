//! Files of this node that have gone from disk while it runs. It goes on with what it has in memory, so nothing fails until its next start,
//! and then it is no member any more: whoever has removed them hears of it while there is time.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::control::LOCK;
use super::shared::{Shared, Topic};
use crate::api::list::named;
use crate::api::local::{Finding, Management};
use crate::api::problem::{Place, Problem};
use crate::config::meshd::{Paths, SOCKET};
use crate::node::enroll::{CA, CERTIFICATE, SLICE, TLS_KEY, WIREGUARD_KEY};

/// How often it looks: some calls of `stat` in the thread that serves meshctl. A configuration is told at its second look, half a minute after it was
/// changed at the latest.
const EVERY: Duration = Duration::from_secs(12);

/// Code of what the next start will not find.
const GONE: &str = "M0693";

/// What a node should have on disk.
#[derive(Debug, Clone, Copy)]
struct Has {
    /// It has joined: its identity is there.
    identity: bool,
    /// It follows a slice, which it keeps.
    slice: bool,
}

/// Looks for as long as the daemon runs. `config` is the file that it was started with.
pub(super) async fn watch(shared: Arc<Shared>, paths: Paths, config: PathBuf) {
    let mut unusable = Unusable::default();
    let mut turn = tokio::time::interval(EVERY);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        let has = {
            let view = shared.view();
            let identity = !matches!(view.management, Management::Files);
            let kept = view.findings.get(&Topic::Disk).is_none_or(Vec::is_empty);
            Has { identity, slice: identity && kept && view.slice.is_some() && view.applied.revision > 0 }
        };
        // One that was refused when it was read again is told already.
        let told = shared.view().findings.get(&Topic::Config).is_some_and(|told| !told.is_empty());
        let unusable = unusable.look(&config, super::run::readable(&config)).filter(|_| !told);
        shared.find(Topic::Gone, findings(&paths, has, &is_there).into_iter().chain(unusable).collect());
    }
}

/// A configuration that the next start would not take.
#[derive(Debug, Default)]
struct Unusable(Option<Problem>);

impl Unusable {
    /// Tells it where it is so at two looks: a file that somebody writes just now is cut.
    fn look(&mut self, path: &Path, read: Result<(), Problem>) -> Option<Finding> {
        let problem = read.err();
        let same = self.0.as_ref().is_some_and(|before| problem.as_ref() == Some(before));
        self.0.clone_from(&problem);
        let Problem { code, what, place, .. } = problem.filter(|_| same)?;
        let place =
            place.map_or_else(String::new, |Place { line, column, .. }| format!(" (line {line}, column {column})"));
        let what = format!(
            "{} cannot be used: [{code}] {what}{place}: this daemon goes on with what it has read before, and its next start fails",
            path.display()
        );
        let help = format!("meshd check-config {0}; then systemctl reload meshd", path.display());
        Some(Finding::new(GONE, what, help))
    }
}

/// False only where it is certain: what may not be looked at may be there.
fn is_there(path: &Path) -> bool {
    !path.symlink_metadata().is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
}

/// What has gone.
fn findings(paths: &Paths, has: Has, there: &dyn Fn(&Path) -> bool) -> Vec<Finding> {
    let identity = [CERTIFICATE, TLS_KEY, CA].map(|name| paths.keys.join(name)).into_iter().filter(|_| has.identity);
    let slice = Some(paths.state.join(SLICE)).filter(|_| has.slice);
    let gone = |all: Vec<PathBuf>| -> Vec<PathBuf> { all.into_iter().filter(|path| !there(path)).collect() };
    let keys = gone(std::iter::once(paths.keys.join(WIREGUARD_KEY)).chain(identity).collect());
    let (state, run) = (gone(slice.into_iter().collect()), gone(vec![paths.run.join(SOCKET), paths.run.join(LOCK)]));
    let restart = if keys.is_empty() {
        "systemctl restart meshd"
    } else {
        "not before its keys are back: systemctl restart meshd"
    };
    let (next, put) = if has.identity {
        (
            "it is no member",
            "put them back from a backup before it ends; without one, meshctl token create --replace NODE, then here: systemctl stop meshd, meshctl join",
        )
    } else {
        (
            "it makes another key, which its peers do not know",
            "put it back from a backup before it ends, or tell its peers the new one",
        )
    };
    let keys = (!keys.is_empty()).then(|| {
        let what = format!(
            "{} gone from disk: this daemon goes on with what it has in memory, and after its next start {next}",
            some(&keys)
        );
        Finding::new(GONE, what, put)
    });
    let state = (!state.is_empty()).then(|| {
        let what = format!(
            "{} gone from disk: should this machine start while no management node answers, it has no table; the next change writes it again",
            some(&state)
        );
        Finding::new(GONE, what, "any change that this node hears of writes it, such as: meshctl node set NODE --label KEY=VALUE; see who removes it")
    });
    let run = (!run.is_empty()).then(|| {
        let what =
            format!("{} gone from disk while this daemon runs: meshctl on this machine does not reach it", some(&run));
        Finding::new("M0694", what, restart)
    });
    [keys, state, run].into_iter().flatten().collect()
}

/// The first of them, how many more there are, and the verb.
fn some(gone: &[PathBuf]) -> String {
    let verb = if gone.len() > 1 { "have" } else { "has" };
    format!("{} {verb}", named(gone.iter().map(|path| path.display()), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> Paths {
        Paths { keys: "k".into(), state: "s".into(), run: "r".into() }
    }

    /// The files as they are named really.
    fn names() -> Vec<PathBuf> {
        let keys = [CERTIFICATE, TLS_KEY, CA, WIREGUARD_KEY].map(|name| paths().keys.join(name));
        let run = [SOCKET, LOCK].map(|name| paths().run.join(name));
        keys.into_iter().chain([paths().state.join(SLICE)]).chain(run).collect()
    }

    fn told(gone: &[&Path], has: Has) -> Vec<(String, String)> {
        let there = |path: &Path| !gone.contains(&path);
        findings(&paths(), has, &there)
            .into_iter()
            .map(|one| (one.code, format!("{}; {}", one.what, one.help)))
            .collect()
    }

    const JOINED: Has = Has { identity: true, slice: true };

    #[test]
    fn each_file_that_goes_is_told_with_its_name_and_what_it_will_cost() {
        let names = names();

        for (at, path) in names.iter().enumerate() {
            let told = told(&[path], JOINED);
            assert_eq!(told.len(), 1, "{path:?}");
            assert_eq!(told[0].0, if at < 5 { GONE } else { "M0694" });
            assert!(told[0].1.contains(&path.display().to_string()), "{told:?}");
        }
        assert_eq!(told(&[], JOINED), []);
    }

    #[test]
    fn whoever_has_lost_keys_and_socket_is_not_led_to_a_restart_that_costs_the_membership() {
        let names = names();
        let all: Vec<&Path> = names.iter().map(PathBuf::as_path).collect();
        let all = told(&all, JOINED);
        assert_eq!(all.len(), 3);
        assert!(all[0].1.contains("and 3 more have gone") && all[0].1.contains("--replace"), "{all:?}");
        assert!(all[2].1.contains("not before its keys are back"), "{all:?}");
        assert!(told(&[names[5].as_path()], JOINED)[0].1.ends_with("; systemctl restart meshd"));
    }

    #[test]
    fn what_a_node_never_had_has_not_gone() {
        let names = names();
        let files = Has { identity: false, slice: false };
        for path in &names[..3] {
            assert_eq!(told(&[path], files), [], "a node with table files has no identity");
        }
        assert_eq!(told(&[&names[4]], Has { slice: false, ..JOINED }), [], "it follows none yet");
        assert!(told(&[&names[3]], files)[0].1.contains("another key"));
    }

    #[test]
    fn a_configuration_that_the_next_start_would_refuse_is_told_once_nobody_writes_it_any_more() {
        use crate::api::problem::Exit;
        let path = Path::new("/etc/vxmesh/meshd.toml");
        let wrong = |what: &str| Err(Problem::new("M0302", Exit::Invalid, what));
        let mut unusable = Unusable::default();
        assert_eq!(unusable.look(path, Ok(())), None);
        assert_eq!(unusable.look(path, wrong("cut")), None, "somebody writes it");
        assert_eq!(unusable.look(path, wrong("unknown field 'lstn'")), None);
        let told = unusable.look(path, wrong("unknown field 'lstn'")).unwrap();
        assert!(told.code == GONE && told.what.contains("[M0302] unknown field 'lstn'"), "{told:?}");
        assert!(told.help.starts_with("meshd check-config /etc/vxmesh/meshd.toml; "), "{told:?}");
        assert_eq!(unusable.look(path, Ok(())), None);
    }

    #[test]
    fn only_what_is_certainly_not_there_has_gone() {
        assert!(!is_there(Path::new("/nonexistent/vxmesh")) && !is_there(Path::new("/dev/null/vxmesh")));
        assert!(is_there(Path::new("/proc/self/status")));
    }
}
