//! Real filters in processes of their own: each test starts this program again, which gives something up and then tries.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::*;

/// Says what the process started by a test is to do: duty, strictness, deed.
const ORDER: &str = "VXMESH_TEST_CONFINED";
/// Exit codes of that process.
const DONE: i32 = 0;
const REFUSED: i32 = 3;

/// The process that has something to try. Without an order it is a test that has nothing to do.
#[test]
fn child() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let [duty, strictness, deed] = order.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let duty = [Duty::Engine, Duty::Front, Duty::Lane, Duty::Manager]
        .into_iter()
        .find(|one| format!("{one:?}") == duty)
        .unwrap();
    let not_listed = if strictness == "strict" { Action::Kill } else { Action::Fail(libc::EPERM) };
    // What is there before; a lane has its sockets from its owner.
    let folder = tempfile::tempdir().unwrap();
    let unconnected = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let there: SocketAddr = listener.local_addr().unwrap();
    begin().unwrap();
    match duty {
        Duty::Lane => drop(reach(Reach::Device("/dev/null".as_ref())).unwrap()),
        Duty::Manager => drop(reach(Reach::Folders(&[folder.path()])).unwrap()),
        Duty::Engine | Duty::Front => {}
    }
    install(duty, not_listed, 0).unwrap();
    let tried: io::Result<()> = match deed {
        "work" => work(duty, folder.path()),
        "program" => Err(Command::new("/bin/true").exec()),
        "child" => Command::new("/bin/true").status().map(drop),
        "trace" => sys::trace_me(),
        "look" => sys::bpf_programs(1, 46, &mut [0; 64]).map(drop).or_else(|error| {
            // A kernel without such programs, or a user who may not ask, is not what is tried here.
            if error.raw_os_error() == Some(libc::EPERM) || error.kind() == io::ErrorKind::InvalidInput {
                Ok(())
            } else {
                Err(error)
            }
        }),
        "table" => sys::BpfTable::new(1).map(drop),
        "namespace" => File::open("/proc/self/ns/net").and_then(|own| sys::setns_network(&own)),
        "file" => File::open("/etc/passwd").map(drop),
        "device" => File::open("/dev/null").map(drop),
        "socket" => Socket::new(Domain::IPV4, Type::DGRAM, None).map(drop),
        "connect" => unconnected.connect(&there.into()),
        "thread" => std::thread::Builder::new().spawn(|| {}).map(|thread| thread.join().unwrap()),
        other => panic!("{other}"),
    };
    let code = match &tried {
        Ok(()) => DONE,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => REFUSED,
        Err(error) => panic!("{error}"),
    };
    // Without unwinding: what the harness does after a test is not what is tried here.
    std::process::exit(code);
}

/// What each may go on doing.
fn work(duty: Duty, folder: &Path) -> io::Result<()> {
    let mut many = vec![vec![7_u8; 1 << 20]; 40];
    many.truncate(1);
    let _ = crate::clock::random::<32>();
    let _ = crate::clock::wall();
    std::thread::sleep(Duration::from_millis(1));
    let wake = crate::linux::poll::Wake::new()?;
    wake.ring();
    let mut poll = crate::linux::poll::Poll::new();
    if let Ok(poll) = &mut poll {
        poll.add(wake.as_fd(), 1)?;
        poll.wait(Some(Duration::from_millis(1)))?;
    }
    if duty == Duty::Manager {
        let path = folder.join("slice.json");
        crate::linux::file::write(&path, b"new", 0o600)?;
        crate::linux::file::write(&path, b"newer", 0o600)?;
        assert_eq!(crate::linux::file::clean(folder)?, 0);
        crate::linux::file::remove(&path)?;
        let store = crate::store::Embedded::open(&folder.join("store")).unwrap();
        let write = crate::store::Transaction::new().write("key", "value");
        crate::store::Store::commit(&store, &write).unwrap();
    }
    let panicked = std::panic::catch_unwind(|| panic!("a panic is printed and caught"));
    assert!(panicked.is_err());
    Ok(())
}

fn attempt(duty: Duty, strictness: &str, deed: &str) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "linux::confine::tests::child", "--nocapture"]);
    command.env(ORDER, format!("{duty:?} {strictness} {deed}"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = output.status.signal().is_some() || matches!(output.status.code(), Some(DONE | REFUSED));
    assert!(expected, "{duty:?} {strictness} {deed}: {}\n{said}", output.status);
    assert!(!output.status.core_dumped(), "{duty:?} {deed}: no memory is left behind");
    output.status
}

/// What the kernel did: `Some(error)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Refused,
    Killed,
}

fn outcome(status: ExitStatus) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(DONE), _) => Outcome::Done,
        (Some(REFUSED), _) => Outcome::Refused,
        (_, Some(libc::SIGSYS)) => Outcome::Killed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_thread_may_do_its_work_and_no_more() {
    use Outcome::{Done, Killed, Refused};
    let files = if sys::landlock_version().unwrap().is_some() {
        Refused
    } else {
        eprintln!("SKIPPED: this kernel has no Landlock, so files are not refused");
        Done
    };
    let cases = [
        (Duty::Engine, "strict", "work", Done),
        (Duty::Engine, "strict", "child", Done),
        (Duty::Engine, "strict", "socket", Done),
        (Duty::Engine, "strict", "trace", Killed),
        (Duty::Engine, "strict", "namespace", Killed),
        (Duty::Engine, "strict", "look", Done),
        (Duty::Engine, "strict", "table", Killed),
        (Duty::Front, "strict", "look", Killed),
        (Duty::Lane, "lenient", "look", Killed),
        (Duty::Manager, "lenient", "look", Killed),
        (Duty::Front, "strict", "work", Done),
        (Duty::Front, "strict", "file", Done),
        (Duty::Front, "strict", "connect", Done),
        (Duty::Front, "strict", "thread", Done),
        (Duty::Front, "strict", "program", Killed),
        (Duty::Front, "strict", "trace", Killed),
        (Duty::Lane, "strict", "work", Done),
        (Duty::Lane, "strict", "device", Done),
        (Duty::Lane, "strict", "file", files),
        (Duty::Lane, "strict", "socket", Killed),
        (Duty::Lane, "lenient", "socket", Refused),
        (Duty::Lane, "lenient", "connect", Refused),
        (Duty::Lane, "lenient", "thread", Refused),
        (Duty::Lane, "lenient", "program", Killed),
        (Duty::Lane, "lenient", "trace", Killed),
        (Duty::Manager, "strict", "work", Done),
        (Duty::Manager, "strict", "thread", Done),
        (Duty::Manager, "strict", "file", files),
        (Duty::Manager, "strict", "connect", Refused),
        (Duty::Manager, "strict", "socket", Killed),
        (Duty::Manager, "lenient", "socket", Refused),
        (Duty::Manager, "lenient", "program", Killed),
        (Duty::Manager, "lenient", "trace", Killed),
    ];
    for (duty, strictness, deed, expected) in cases {
        let found = outcome(attempt(duty, strictness, deed));
        assert_eq!(found, expected, "{duty:?}, {strictness}: {deed}");
    }
}

#[test]
fn what_begins_confined_has_no_dumps_and_gains_no_rights() {
    let status = attempt(Duty::Engine, "strict", "child");
    assert!(status.success());
    // The flags themselves: they are of the whole process, so they are looked at in one of its own.
    let looked = std::thread::spawn(|| {
        sys::no_new_privileges().unwrap();
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    });
    looked.join().unwrap();
}

#[test]
fn rules_that_do_not_hold_are_told_from_those_that_do() {
    let error = shut(Path::new("/")).unwrap_err();
    assert!(error.to_string().contains("can be read all the same"), "nothing holds this test back: {error}");
}
