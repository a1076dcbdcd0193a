//! `meshctl` against a real `meshmgr` on loopback.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::program::{Ended, MESHCTL, MESHMGR, command, feed, file, run};

/// A management node of its own, ended with the test.
pub(crate) struct Management {
    folder: tempfile::TempDir,
    address: String,
    child: Child,
}

impl Drop for Management {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Management {
    /// An installation that listens on `address` once it runs: its folder, and its configuration.
    pub(crate) fn configure(address: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display();
        let text = format!(
            "listen = \"{address}\"\naddresses = [\"{address}\"]\n[paths]\nkeys = \"{root}/keys\"\nstate = \"{root}/state\"\n"
        );
        let config = folder.path().join("meshmgr.toml").display().to_string();
        std::fs::write(&config, text).unwrap();
        let init = run(MESHMGR, &["init", "--config", &config]);
        assert_eq!(init.code, Some(0), "{}", init.stderr);
        (folder, config)
    }

    pub(crate) fn start() -> Self {
        // The kernel gives a free port; nobody else is likely to take it before the server does.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (folder, config) = Self::configure(&address);
        let child = command(MESHMGR, &["run", "--config", &config]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let made = Self { folder, address, child: child.unwrap() };
        #[expect(clippy::disallowed_methods, reason = "a test waits for a server")]
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&made.address).is_err() {
            #[expect(clippy::disallowed_methods, reason = "a test waits for a server")]
            let now = Instant::now();
            assert!(now < until, "meshmgr does not listen on {}", made.address);
            std::thread::sleep(Duration::from_millis(20));
        }
        made
    }

    fn arguments<'a>(&'a self, credential: &'a str, words: &[&'a str]) -> Vec<&'a str> {
        [&["--management", &self.address, "--credential", credential], words].concat()
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> String {
        self.folder.path().join("meshmgr.toml").display().to_string()
    }

    fn credential(&self) -> String {
        self.folder.path().join("keys/admin").display().to_string()
    }

    pub(crate) fn meshctl(&self, words: &str) -> Ended {
        let words: Vec<&str> = words.split_whitespace().collect();
        run(MESHCTL, &self.arguments(&self.credential(), &words))
    }

    pub(crate) fn feed(&self, words: &str, input: &str) -> Ended {
        let words: Vec<&str> = words.split_whitespace().collect();
        feed(MESHCTL, &self.arguments(&self.credential(), &words), input)
    }

    /// Runs what must succeed.
    pub(crate) fn good(&self, words: &str) -> String {
        let ended = self.meshctl(words);
        assert_eq!(ended.code, Some(0), "{words}: {}{}", ended.stdout, ended.stderr);
        ended.stdout
    }

    /// Runs what must be refused.
    pub(crate) fn bad(&self, words: &str, code: i32, says: &str) {
        let ended = self.meshctl(words);
        assert_eq!(ended.code, Some(code), "{words}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(says), "{words}: {says:?} is not in\n{}", ended.stderr);
    }
}

#[test]
fn objects_are_made_shown_changed_and_deleted() {
    let mesh = Management::start();
    assert!(mesh.good("status").contains("no nodes"));
    let applied = mesh.good(&format!("apply -f {}", file("examples/manifests/two-pdcs.yaml")));
    assert!(applied.ends_with("9 created, 0 changed, 0 unchanged. Done.\n"), "{applied}");
    let made =
        mesh.good("network create green --overlay default --vni 11 --cidr 192.168.11.0/24 --gateway 192.168.11.1");
    assert_eq!(made, "network/green created\n");
    mesh.bad("network create green --overlay default --vni 12", 5, "exists already");
    mesh.bad("network create red --overlay default --vni 11", 5, "");
    assert_eq!(mesh.good("network set green --owner shop"), "network/green changed\n");
    assert_eq!(mesh.good("network set green --owner shop"), "network/green unchanged\n");
    let shown = mesh.good("network show green");
    assert!(shown.contains("vni: 11") && shown.contains("owner: shop") && shown.contains("192.168.11.1"), "{shown}");
    mesh.good("port create p1 --network green --node fra-2 --mac 2:0:0:0:0:21 --ip 192.168.11.11");
    mesh.bad("network delete green", 5, "--cascade");
    mesh.good("network delete green --cascade");
    mesh.bad("port show p1", 4, "does not exist");
    for noun in ["pdc", "node", "overlay", "network", "port", "policy", "token"] {
        mesh.good(&format!("{noun} list"));
    }
}

#[test]
fn what_get_prints_is_what_apply_takes() {
    let mesh = Management::start();
    mesh.good(&format!("apply -f {}", file("examples/manifests/two-pdcs.yaml")));
    for format in ["yaml", "json"] {
        let printed = mesh.good(&format!("get all -o {format}"));
        let same = mesh.feed("apply -f -", &printed);
        assert_eq!(same.code, Some(0), "{}", same.stderr);
        assert_eq!(same.stdout, "0 created, 0 changed, 9 unchanged. Done.\n", "{format}");
    }
    let changed = mesh.good("get network blue -o yaml").replace("vni: 10", "vni: 15");
    let diff = mesh.feed("diff -f -", &changed).stdout;
    assert_eq!(diff, "~ network/blue\n    spec.vni: 10 -> 15\n0 created, 1 changed, 0 unchanged. Nothing done.\n");
    assert!(mesh.good("network show blue").contains("vni: 10"));
    mesh.good("network set blue --vni 12");
    let late = mesh.feed("apply -f -", &changed);
    assert_eq!(late.code, Some(5), "a manifest with an old revision is a conflict: {}", late.stderr);
}

#[test]
fn a_token_is_alone_on_stdout() {
    let mesh = Management::start();
    mesh.good("pdc create fra --intra plain --underlay 10.1.0.0/24");
    let token = mesh.good("token create --pdc fra --uses 2 --ttl 15m --name fra-*");
    assert!(token.starts_with("vxm1.") && token.lines().count() == 1, "one line, and nothing else");
    let list = mesh.good("token list");
    assert!(list.contains("fra-*") && list.contains("0/2") && list.contains("open"), "{list}");
    assert!(!list.contains("vxm1."), "the secret is shown once");
    mesh.bad("token create --pdc nope", 3, "'nope'");
}

#[test]
fn a_frame_is_explained_and_a_table_goes_out_and_comes_in() {
    let mesh = Management::start();
    mesh.good(&format!("apply -f {}", file("examples/manifests/two-pdcs.yaml")));
    let why = mesh.meshctl("explain --from web-1 --to 192.168.10.12");
    assert_eq!(why.code, Some(9), "{}{}", why.stdout, why.stderr);
    assert!(why.stdout.contains("policy  tunnel: different PDCs\n"), "{}", why.stdout);
    assert!(why.stdout.contains("ENDS HERE: ams-1 has not joined yet"), "{}", why.stdout);
    mesh.bad("explain --from web-9 --to db-1", 4, "web-9");
    let table = mesh.good("table export --node fra-1 --network blue");
    assert!(table.contains("\"ip\": \"203.0.113.5\"") && table.contains("\"port\": 4789"), "{table}");
    let path = mesh.folder.path().join("10.json").display().to_string();
    std::fs::write(&path, &table).unwrap();
    assert!(mesh.good(&format!("table diff {path} --node fra-1 --network blue")).contains("say the same"));
    mesh.good("network create copy --overlay default --vni 30");
    let ports = mesh.good(&format!("table import {path} --network copy"));
    assert!(ports.starts_with("port/m-02000000000c created\n"), "{ports}");
    let unknown = table.replace("203.0.113.5", "203.0.113.77");
    std::fs::write(&path, unknown).unwrap();
    mesh.bad(&format!("table import {path} --network copy"), 4, "no node has the address 203.0.113.77");
    assert!(mesh.good("policy matrix").contains("blue"));
    assert!(mesh.good("events -n 3").contains("apply"));
}

#[test]
fn a_management_node_that_is_away_ends_with_7() {
    let mesh = Management::start();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let credential = mesh.credential();
    let ended = run(MESHCTL, &["--management", &free, "--credential", &credential, "network", "list"]);
    assert_eq!(ended.code, Some(7));
    assert!(ended.stderr.contains(&format!("{free} does not answer")), "{}", ended.stderr);
}
