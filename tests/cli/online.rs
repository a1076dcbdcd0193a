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
        let child = Self::run(&config);
        let made = Self { folder, address, child };
        made.wait();
        made
    }

    fn run(config: &str) -> Child {
        let mut command = command(MESHMGR, &["run", "--config", config]);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(format!("{config}.log")).unwrap();
        command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// Ends the server as hard as it goes.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Runs the server again, after [`Self::kill`].
    pub(crate) fn again(&mut self) {
        self.child = Self::run(&self.config());
        self.wait();
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(format!("{}.log", self.config())).unwrap()
    }

    /// Limits how large a file it may write, in bytes or `unlimited`.
    pub(crate) fn limit(&self, size: &str) {
        let pid = self.child.id().to_string();
        let limit = format!("--fsize={size}:");
        let done = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
        assert!(done.success());
    }

    /// Its memory, KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The bytes of its store.
    pub(crate) fn store(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("state/mesh.redb")).unwrap()
    }

    fn wait(&self) {
        #[expect(clippy::disallowed_methods, reason = "a test waits for a server")]
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&self.address).is_err() {
            #[expect(clippy::disallowed_methods, reason = "a test waits for a server")]
            let now = Instant::now();
            assert!(now < until, "meshmgr does not listen on {}", self.address);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn arguments<'a>(&'a self, credential: &'a str, words: &[&'a str]) -> Vec<&'a str> {
        [&["--management", &self.address, "--credential", credential], words].concat()
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> String {
        self.folder.path().join("meshmgr.toml").display().to_string()
    }

    /// Its keys.
    pub(crate) fn keys(&self) -> std::path::PathBuf {
        self.folder.path().join("keys")
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
    mesh.good("port create p1 --network green --node fra-2 --mac 02:00:00:00:00:21 --ip 192.168.11.11");
    mesh.bad("network delete green", 5, "--cascade");
    assert_eq!(mesh.good("network set green --unset owner,gateway"), "network/green changed\n");
    let emptied = mesh.good("network describe green");
    assert!(!emptied.contains("owner") && !emptied.contains("gateway"), "{emptied}");
    mesh.bad("network set green --unset vni", 2, "cannot be without 'vni'");
    mesh.bad("network set green --unset onwer", 2, "did you mean 'owner'?");
    assert_eq!(mesh.good("network ls"), mesh.good("network list"));
    assert_eq!(mesh.good("network delete green --cascade"), "network/green deleted, and 1 port with it\n");
    let slip = mesh.meshctl("-o json network dlete blue");
    let told: serde_json::Value = serde_json::from_str(&slip.stdout).unwrap();
    assert_eq!((slip.code, told["error"]["code"].as_str()), (Some(2), Some("M0132")), "{}", slip.stdout);
    assert!(!slip.stdout.contains("'delete'"), "{}", slip.stdout);
    let events: serde_json::Value = serde_json::from_str(&mesh.good("events -o json")).unwrap();
    let at = events["items"][0]["at"].as_str().unwrap();
    assert!(at.ends_with('Z') && at.contains('T'), "times are RFC 3339: {at}");
    mesh.bad("port show p1", 4, "does not exist");
    for noun in ["pdc", "node", "overlay", "network", "port", "policy", "token"] {
        mesh.good(&format!("{noun} list"));
    }
}

#[test]
fn every_example_can_be_applied_as_it_is() {
    let mesh = Management::start();
    mesh.good(&format!("apply -f {}", file("examples/manifests/two-pdcs.yaml")));
    let folder = std::fs::read_dir(file("examples/manifests")).unwrap();
    let mut names: Vec<String> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() > 3, "{names:?}");
    for name in names {
        let words = format!("apply -f {}", file(&format!("examples/manifests/{name}")));
        mesh.good(&words);
        let again = mesh.good(&words);
        assert!(again.contains("0 created, 0 changed"), "{name}: {again}");
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
    let diff = mesh.feed("diff -f -", &changed);
    let says = "~ network/blue\n    spec.vni: 10 -> 15\n0 created, 1 changed, 0 unchanged. Nothing done.\n";
    assert_eq!((diff.code, diff.stdout.as_str()), (Some(1), says));
    assert_eq!(mesh.feed("diff -f -", &mesh.good("get all -o yaml")).code, Some(0), "no difference");
    assert!(mesh.good("network show blue").contains("vni: 10"));
    mesh.good("network set blue --vni 12 --yes");
    let late = mesh.feed("apply --if-unchanged --yes -f -", &changed);
    assert_eq!(late.code, Some(5), "a manifest with an old revision is a conflict: {}", late.stderr);
    let late = mesh.feed("apply --yes -f -", &changed);
    assert_eq!(late.code, Some(0), "unless nobody asks for the revision: {}", late.stderr);
    assert!(mesh.good("network show blue").contains("vni: 15"));
    // What the server knows of a node comes back as it was printed, and is not the file's to say.
    let node = mesh.good("get node fra-1 -o yaml");
    let node = node.split_once("status:").map_or(node.as_str(), |(spec, _)| spec).to_owned()
        + "status: {joined: 1700000000, seen: 2023-11-14T22:13:20Z, connected: true, tlsKey: ab}\n";
    let same = mesh.feed("apply -f -", &node);
    assert_eq!(
        (same.code, same.stdout.as_str()),
        (Some(0), "0 created, 0 changed, 1 unchanged. Done.\n"),
        "{}",
        same.stderr
    );
}

#[test]
fn a_token_is_alone_on_stdout() {
    let mesh = Management::start();
    mesh.good("pdc create fra --intra plain --underlay 10.1.0.0/24");
    let token = mesh.good("token create --pdc fra --uses 2 --ttl 15m --name fra-*");
    assert!(token.starts_with("vxm1.") && token.lines().count() == 1, "one line, and nothing else");
    let one = mesh.meshctl("token create --pdc fra --name fra-7");
    assert!(one.stderr.contains("meshctl join --name fra-7"), "a line to paste: {}", one.stderr);
    mesh.bad("token create --replace fra-7", 4, "'fra-7' does not exist");
    mesh.good("node create fra-7 --pdc fra");
    assert!(mesh.good("token create --replace fra-7").starts_with("vxm1."));
    mesh.bad("token create --replace fra-7 --name fra-8", 2, "cannot be used with");
    mesh.bad("token create --replace fra-7 --pdc nope", 6, "M0261");
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
    let same = mesh.meshctl("explain web-1 192.168.10.12");
    assert_eq!((same.code, &same.stdout), (Some(9), &why.stdout), "{}", same.stderr);
    mesh.bad("explain web-1", 2, "--to");
    mesh.bad("explain web-1 db-1 --from web-1", 2, "--from");
    let made = mesh.good("events --kind apply --last 3 --since 1h");
    assert!(made.lines().count() == 2 && made.contains("9 objects"), "{made}");
    mesh.bad("events --since yesterday", 2, "--since");
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

/// Two foreign boxes stand for machines that have joined: what they carry is known without them.
fn two_boxes(mesh: &Management) {
    for (pdc, n) in [("fra", 1), ("ams", 2)] {
        mesh.good(&format!("pdc create {pdc} --intra plain --underlay 10.{n}.0.0/24"));
    }
    mesh.good("overlay create default");
    mesh.good("network create blue --overlay default --vni 10 --cidr 192.168.10.0/24");
    let keys = ["xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="];
    let boxes: String = (1..=2)
        .map(|n| {
            let (pdc, key) = (["fra", "ams"][n - 1], keys[n - 1]);
            format!(
                "---\napiVersion: vxmesh/v1\nkind: Node\nmetadata: {{name: box-{n}}}\nspec: {{pdc: {pdc}, external: 203.0.113.{n}, \
                 foreign: {{publicKey: {key}, endpoint: '203.0.113.{n}:51820', tunnelAddress: 100.64.9.{n}}}}}\n"
            )
        })
        .collect();
    let applied = mesh.feed("apply -f -", &boxes);
    assert_eq!(applied.code, Some(0), "{}", applied.stderr);
    for n in 1..=2 {
        mesh.good(&format!(
            "port create p{n} --network blue --node box-{n} --mac 02:00:00:00:00:0{n} --ip 192.168.10.1{n}"
        ));
    }
}

#[test]
fn the_map_of_mtus_says_what_a_network_gets_and_who_limits_it() {
    let mesh = Management::start();
    assert_eq!(mesh.good("mtu map"), "no two nodes share a network yet\n\nno networks\n");
    two_boxes(&mesh);
    let map = mesh.good("mtu map");
    assert!(map.contains("ams  fra  tunnel  1500      -         -      1390   external interfaces\n"), "{map}");
    assert!(map.contains("blue     1390  auto (node)  1390   fits   external interfaces\n"), "{map}");
    let json: serde_json::Value = serde_json::from_str(&mesh.good("mtu map --network blue -o json")).unwrap();
    let sum = "1500 underlay - 20 IPv4 - 8 UDP - 32 WireGuard - 20 IPv4 - 8 UDP - 8 VXLAN - 14 Ethernet = 1390";
    assert_eq!(json["networks"][0]["sum"], sum);
    assert_eq!(json["pairs"][0]["ends"], serde_json::json!(["box-2", "box-1"]));
    mesh.bad("mtu map --network bleu", 4, "did you mean 'blue'?");
    let probe = run(MESHCTL, &["mtu", "probe", "box/1"]);
    assert_eq!(probe.code, Some(3), "{}", probe.stderr);
    assert!(probe.stderr.contains("is the name of neither a node nor a port"), "{}", probe.stderr);
}

#[test]
fn a_number_that_merely_needs_fragments_is_warned_of_and_an_impossible_one_is_refused() {
    let mesh = Management::start();
    two_boxes(&mesh);
    let set = mesh.meshctl("network set blue --mtu 1500");
    assert_eq!((set.code, set.stdout.as_str()), (Some(0), "network/blue changed\n"), "{}", set.stderr);
    let warning = "warning: an MTU of 1500 is 110 bytes more than every path of network blue carries whole";
    assert!(set.stderr.contains(warning), "{}", set.stderr);
    assert!(set.stderr.contains("meshctl network set blue --mtu 1390"), "{}", set.stderr);
    let status = mesh.meshctl("status");
    assert_eq!(status.code, Some(9), "{}", status.stdout);
    assert!(
        status.stdout.contains("M0502 network blue: 110 bytes short of its MTU 1500 on the tightest path"),
        "{}",
        status.stdout
    );
    assert!(
        mesh.good("mtu map").contains("fixed (network)  1390   110 bytes short: fragments"),
        "{}",
        mesh.good("mtu map")
    );
    mesh.bad("network set blue --mtu 575", 2, "an MTU is 576 to 65535");
    mesh.bad("network set blue --mtu 65500", 3, "it is 15 bytes too large for 65535 largest IP packet");
    mesh.bad("overlay set default --mtu 65500", 3, "overlay 'default' cannot have this MTU");
    mesh.bad("network set blue --cidr 192.168.10.0/24,fd00::/64 --mtu 1200", 3, "80 bytes are missing to 1280");
    mesh.good("network set blue --mtu 1390");
    assert!(mesh.good("network show blue").contains("1390"));
    let strict = mesh.good("network show blue").replace("fragment", "drop").replace("1390", "1391");
    let refused = mesh.feed("apply -f -", &strict);
    assert_eq!(refused.code, Some(3), "{}{}", refused.stdout, refused.stderr);
    assert!(
        refused.stderr.contains("error[M0501]") && refused.stderr.contains("1 bytes too large"),
        "{}",
        refused.stderr
    );
    mesh.good("network set blue --mtu inherit");
    mesh.good("overlay set default --mtu 1300");
    assert!(mesh.good("mtu map").contains("blue     1300  fixed (overlay)"), "{}", mesh.good("mtu map"));
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
