use super::*;
use crate::linux::KernelError;
use crate::meshd::disk::tests::slice;
use crate::node::desired::Observed;
use crate::node::op::Op;
use crate::node::unwatched::UNWATCHED;

/// What a kernel does when it is looked at.
enum Fault {
    Panics,
    /// Until this end is dropped.
    StandsStill(mpsc::Receiver<()>),
}

impl Kernel for Fault {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        match self {
            Self::Panics => panic!("a fault that was put in"),
            Self::StandsStill(until) => drop(until.recv()),
        }
        Ok(Observed::default())
    }
    fn apply(&mut self, _: &[Op]) -> Result<(), KernelError> {
        Ok(())
    }
}

fn shared() -> Arc<Shared> {
    let lanes = Lanes::start(0, "51820".parse().unwrap(), SecretKey::from_bytes([1; 32]), Default::default()).unwrap();
    Shared::new("a-1".parse().unwrap(), "a".parse().unwrap(), Management::Files, lanes)
}

/// A daemon with everything that decides when it ends, and this kernel.
struct Daemon {
    shared: Arc<Shared>,
    folder: tempfile::TempDir,
    engine: Sender<Command>,
}

fn daemon(kernel: Fault) -> (Daemon, Started) {
    let (folder, shared) = (tempfile::tempdir().unwrap(), shared());
    let text = format!("management = ['m:1']\n[paths]\nstate = '{0}'\nrun = '{0}/run'\n", folder.path().display());
    let engine = Engine::new(kernel, Arc::clone(&shared), Config::parse("f", &text).unwrap(), None);
    let (sender, commands) = mpsc::channel();
    let started = set_to_work(engine, Arc::clone(&shared), Some(slice(7)), commands).unwrap();
    std::fs::write(folder.path().join("meshd.toml"), text).unwrap();
    (Daemon { shared, folder, engine: sender }, started)
}

/// Until the daemon ends by itself.
async fn until(daemon: &Daemon, ended: oneshot::Receiver<()>, asked: tokio::task::JoinHandle<()>) -> Problem {
    let loaded = load(&daemon.folder.path().join("meshd.toml")).unwrap();
    let log = Log::default();
    let reload = Reload { loaded, shared: &daemon.shared, engine: &daemon.engine, link: None, log };
    let ends = tokio::time::timeout(Duration::from_secs(60), until_told(reload, ended, asked));
    ends.await.expect("the daemon ends").expect_err("not as if it had been told to")
}

#[tokio::test]
async fn an_engine_that_panics_ends_the_daemon_as_a_failure() {
    let (daemon, (thread, stands, ended)) = daemon(Fault::Panics);
    let asked = tokio::spawn(std::future::pending());
    assert_eq!(until(&daemon, ended, asked).await.code, FAILED);
    assert!(stands.await.is_err(), "what waits for its plan is not let go");
    let why = end(thread, ENDS).await.unwrap_err();
    assert!(why.code == FAILED && why.exit == Exit::Failed && why.what.contains("panic"), "{why}");
}

#[tokio::test]
async fn a_control_socket_that_ends_ends_the_daemon_as_a_failure() {
    let (keep, until_then) = mpsc::channel();
    let (daemon, _started) = daemon(Fault::StandsStill(until_then));
    for asked in [tokio::spawn(async {}), tokio::spawn(async { panic!("a fault that was put in") })] {
        let (_alive, ended) = oneshot::channel();
        let why = until(&daemon, ended, asked).await;
        assert!(why.code == FAILED && why.what.contains("control socket"), "{why}");
    }
    drop(keep);
}

#[tokio::test]
async fn an_engine_that_stands_still_does_not_keep_the_daemon_from_ending() {
    let (keep, until_then) = mpsc::channel();
    let (Daemon { shared, engine, .. }, (thread, mut stands, _)) = daemon(Fault::StandsStill(until_then));
    engine.send(Command::Stop).unwrap();
    let why = end(thread, Duration::from_millis(200)).await.unwrap_err();
    assert!(why.code == FAILED && why.what.contains("stands still"), "{why}");
    assert!(stands.try_recv().is_err(), "its plan does not stand");
    let later = mono() + Duration::from_secs(3600);
    assert!(shared.engine.is_late(Duration::from_secs(120), later), "it was alive once, and is not since");
    drop(keep);
}

#[tokio::test]
async fn a_task_of_the_link_that_panics_or_ends_is_told_and_the_daemon_goes_on() {
    for eye in [Eye::Stream, Eye::Reports, Eye::Renewal, Eye::Own, Eye::Engine] {
        for panics in [true, false] {
            let shared = shared();
            watched(&shared, eye, async move { assert!(!panics, "a fault that was put in") });
            let told = || {
                shared.tell_unwatched(mono());
                shared.view().findings.get(&Topic::Unwatched).cloned().unwrap_or_default()
            };
            for _ in 0..2000 {
                if !told().is_empty() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(matches!(told().as_slice(), [one] if one.code == UNWATCHED), "{eye:?}: {:?}", told());
        }
    }
}
