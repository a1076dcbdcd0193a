//! What a newcomer gets who types the README's first deployment with mistakes: each slip has its words (what is wrong, where, why), says
//! that nothing was changed where that could be feared, and names a next command that there is and that is not the one that failed.

use std::path::Path;

use crate::ended::Ended;
use crate::online::Management;
use crate::program::{MESHCTL, MESHMGR, command, file, run};

/// Commands of ours that a text names, each from the name of the program to the end of its sentence.
fn named(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in text.lines() {
        for (at, program) in line.match_indices("meshctl ").chain(line.match_indices("meshmgr ")) {
            let before = line[..at].chars().next_back();
            if before.is_some_and(|c| c.is_ascii_alphanumeric() || "/-_.".contains(c)) {
                continue;
            }
            let rest = &line[at + program.len()..];
            let end = rest.find([';', ',', '`', '\'', '(', ')']).unwrap_or(rest.len());
            let words = rest[..end].split_whitespace().map(|word| word.trim_end_matches('.').to_owned());
            found.push(std::iter::once(program.trim().to_owned()).chain(words).collect());
        }
    }
    found
}

/// The command without what is behind it in a sentence: the words that lead to it.
fn known(words: &[String]) -> Result<(), String> {
    let program = if words[0] == "meshmgr" { MESHMGR } else { MESHCTL };
    if words.get(1).is_some_and(|word| word == "--help") {
        return Ok(());
    }
    let verbs: Vec<&str> = words[1..].iter().map(String::as_str).take_while(|word| plain(word)).take(2).collect();
    // Longest first: `join` has no verb, `node delete` has one.
    for n in (1..=verbs.len()).rev() {
        let ended = run(program, &[&verbs[..n], &["--help"]].concat());
        let usage = ended.stdout.contains(&format!("Usage: {} {}", words[0], verbs[..n].join(" ")));
        if ended.code == Some(0) && usage {
            let flags = words.iter().filter(|word| word.starts_with("--") && word.len() > 2);
            let whole = run(program, &["--help"]).stdout + &ended.stdout;
            let unknown = flags.map(|flag| flag.split('=').next().unwrap_or(flag)).find(|flag| !whole.contains(flag));
            return unknown.map_or(Ok(()), |flag| Err(format!("{words:?}: no flag {flag}")));
        }
    }
    // `meshctl --management HOST status`: what leads is an option.
    let command = words[1..].iter().rev().find(|word| plain(word));
    match command {
        Some(word) if words[1].starts_with('-') && run(program, &[word, "--help"]).code == Some(0) => Ok(()),
        _ => Err(format!("{words:?} is no command")),
    }
}

fn plain(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
}

/// Holds what was said against what every slip gets.
fn held(typed: &str, ended: &Ended, exit: i32, code: &str, says: &[&str]) {
    let text = &ended.stderr;
    assert_eq!(ended.code, Some(exit), "{typed}: {}{text}", ended.stdout);
    assert!(text.contains(&format!("error[{code}]: ")), "{typed}: {code} is not in\n{text}");
    for word in says {
        assert!(text.contains(word), "{typed}: {word:?} is not in\n{text}");
    }
    // A value that is shown where it stands, with what it may be, says itself what to do.
    let shown = text.contains("\n --> ") && text.contains("  ^");
    assert!(shown || text.contains("\n  help: "), "{typed}: nothing is said of what to do\n{text}");
    assert!(!text.contains('\u{1b}'), "{typed}: no colours but on a terminal\n{text}");
    let help: String = text
        .lines()
        .filter(|line| line.starts_with("  help: ") && !line.contains("Usage: "))
        .map(|line| format!("{line}\n"))
        .collect();
    for words in named(&help) {
        known(&words).unwrap_or_else(|why| panic!("{typed}: {why}\n{text}"));
        let again = words[1..].join(" ");
        let same = typed.trim_start_matches("meshctl ") == again;
        assert!(!same, "{typed}: the command that failed is named again\n{text}");
    }
}

/// A mesh as the README has it after its second step, and two ports.
fn readme() -> Management {
    let mesh = Management::start();
    mesh.good("pdc create fra --intra plain --underlay 10.1.0.0/24");
    mesh.good("pdc create muc --intra plain --underlay 10.2.0.0/24");
    mesh.good("overlay create default");
    mesh.good("network create blue --overlay default --vni 10 --cidr 192.168.10.0/24");
    mesh.good("node create fra-1 --pdc fra");
    mesh.good(
        "port create web --network blue --node fra-1 --mac 52:54:00:00:00:01 --ip 192.168.10.11 --interface web0",
    );
    mesh
}

/// What is typed, exit code, code, and what is said.
type Slip<'a> = (&'a str, i32, &'a str, &'a [&'a str]);

#[test]
fn a_slip_in_what_there_shall_be_gets_its_words() {
    let mesh = readme();
    let before = mesh.good("get all -o json");
    let slips: &[Slip<'_>] = &[
        ("pdc create fra --intra plain", 5, "M0331", &["pdc 'fra' exists already", "nothing was changed"]),
        ("pdc create Fra", 3, "M0302", &["'Fra' is not the name of a pdc", "'F'"]),
        ("pdc create ams --intra clear", 2, "M0132", &["known: plain or encrypted"]),
        ("pdc create ams --underlay 10.3.0.1/24", 2, "M0132", &["10.3.0.0/24"]),
        ("network create red --overlay default --vni 99999999", 2, "M0132", &["a network's VNI is 1 to 16777214"]),
        ("network create red --overlay default", 2, "M0111", &["--vni is needed"]),
        ("network create red --overlay defualt --vni 11", 3, "M0330", &["did you mean 'default'?"]),
        ("network create red --overlay default --vni 10", 5, "M0316", &["same VNI 10"]),
        ("network set blue --mtu 1418B", 2, "M0132", &["an MTU is 576 to 65535"]),
        ("network set blue --mtu 9k", 2, "M0132", &["an MTU is 576 to 65535"]),
        ("network set bleu --mtu 1400", 4, "M0333", &["network 'bleu' does not exist", "did you mean 'blue'?"]),
        ("network set blue --gateway 192.168.10.255", 3, "M0319", &["broadcast address of 192.168.10.0/24"]),
        ("overlay create second --udp-port 4789", 5, "M0317", &["leave --udp-port out"]),
        ("token create --pdc farn", 3, "M0330", &["PDC 'farn' does not exist", "the new token refers to it"]),
        ("token create --pdc fra --ttl 9999d", 3, "M0259", &["1 second to 30 days", "--ttl 30d"]),
        ("token create --pdc fra --uses 20000", 3, "M0259", &["1 to 10000 uses", "--uses 1"]),
        (
            "port set web --unset ips --ip 192.168.10.12",
            2,
            "M0133",
            &["'ips' is emptied and given", "nothing was changed"],
        ),
        ("port set web --ip 192.168.10.12/24", 2, "M0132", &["is without prefix length: 192.168.10.12, and not /24"]),
        ("port set web --unset labells", 2, "M0133", &["no field 'labells'"]),
        ("token create --pdc fra --ttl 60", 2, "M0132", &["write 60s, 60m, 60h or 60d"]),
        ("token create", 2, "M0132", &["--pdc <PDC>"]),
        (
            "port create db --network blue --node muc-1 --mac 52:54:00:00:00:02",
            3,
            "M0330",
            &["node 'muc-1' does not exist"],
        ),
        (
            "port create db --network blue --node fra-1 --mac 52:54:00:00:00:01",
            5,
            "M0314",
            &["'db' and 'web'", "use_vmac"],
        ),
        ("port create db --network blue --node fra-1 --mac 52:54:0:0:0:2", 2, "M0132", &["52:54:00:00:00:02"]),
        ("port create db --network blue --node fra-1 --mac 01:00:5e:00:00:01", 2, "M0132", &["address of a group"]),
        ("port create db --network blue --node fra-1 --mac 00:00:00:00:00:00", 2, "M0132", &["all zeros"]),
        (
            "port create db --network blue --node fra-1 --mac 52:54:00:00:00:02 --ip 192.168.10.0",
            3,
            "M0321",
            &["the own address of the prefix 192.168.10.0/24"],
        ),
        (
            "port create db --network blue --node fra-1 --mac 52:54:00:00:00:02 --ip 192.168.11.5",
            3,
            "M0321",
            &["outside of network 'blue'", "192.168.10.0/24"],
        ),
        ("port create db --network blue --mac 52:54:00:00:00:02", 2, "M0111", &["--node is needed"]),
        ("port delete wbe", 4, "M0333", &["port 'wbe' does not exist", "meshctl port list"]),
        ("network delete blue", 5, "M0313", &["by port web", "meshctl port delete web", "--cascade"]),
        ("pdc delete fra", 5, "M0313", &["by node fra-1", "meshctl node delete fra-1"]),
        ("pathpolicy list", 2, "M0132", &["'pathpolicy'"]),
        ("policy show no-such", 4, "M0333", &["policy 'no-such' does not exist", "meshctl policy list"]),
        (
            "policy create p --action plain --between pdc:fra,pdc:muc",
            3,
            "M0401",
            &["in clear", "--i-know-this-is-clear"],
        ),
        ("policy create p --action plain --i-know-this-is-clear=false", 2, "M0132", &["--i-know-this-is-clear"]),
        ("network lsit", 2, "M0132", &["'lsit'", "meshctl network --help"]),
        ("network list --socket /run/vxmesh/meshd.sock", 2, "M0136", &["it asks a management node"]),
        ("apply", 2, "M0132", &["--file <FILE>", "meshctl apply --help"]),
        ("apply -f /nonexistent.yaml", 4, "M0308", &["/nonexistent.yaml cannot be read"]),
        ("explain wbe web", 4, "M0333", &["port 'wbe' does not exist"]),
        ("node rename fra-1 fra-1", 5, "M0331", &["node 'fra-1' exists already"]),
        ("node show fra-9", 4, "M0333", &["node 'fra-9' does not exist"]),
        ("status --node fra-9", 4, "M0333", &["node 'fra-9' does not exist"]),
        ("events --node fra-9", 4, "M0333", &["node 'fra-9' does not exist"]),
        ("get netwroks", 2, "M0132", &["did you mean 'network'?"]),
    ];
    for (typed, exit, code, says) in slips {
        held(typed, &mesh.meshctl(typed), *exit, code, says);
        assert_eq!(mesh.good("get all -o json"), before, "{typed}");
        // The same in JSON: nothing on stderr, the same code and exit.
        let json = mesh.meshctl(&format!("-o json {typed}"));
        let said: serde_json::Value =
            serde_json::from_str(&json.stdout).unwrap_or_else(|e| panic!("{typed}: {e}: {}", json.stdout));
        assert_eq!((json.code, said["error"]["code"].as_str()), (Some(*exit), Some(*code)), "{typed}: {}", json.stdout);
        assert_eq!(json.stderr, "", "{typed}");
    }
}

#[test]
fn a_slip_in_a_manifest_gets_its_words_and_its_place() {
    let mesh = readme();
    let before = mesh.good("get all -o json");
    let network = |spec: &str| format!("apiVersion: vxmesh/v1\nkind: Network\nmetadata: {{name: red}}\nspec:\n{spec}");
    for (text, exit, code, says) in [
        (network("\toverlay: default\n  vni: 11\n"), 3, "M0305", &["a tab stands", "<stdin>:5:", "two spaces"][..]),
        (network("  overlay: default\n  vnii: 11\n"), 3, "M0301", &["'vnii'", "<stdin>:6:3", "did you mean 'vni'?"]),
        (network("  overlay: default\n  vni: 0\n"), 3, "M0302", &["a network's VNI is 1 to 16777214", "<stdin>:6:8"]),
        (network("  overlay: default\n  vni: 010\n"), 3, "M0302", &["10 with a leading 0, a fraction or an exponent stands"]),
        (network("  overlay: default\n  vni: \"11\"\n"), 3, "M0302", &["without quotes"]),
        (network("  overlay: nope\n  vni: 11\n"), 3, "M0330", &["overlay 'nope' does not exist", "network red refers to it"]),
        (network("  overlay: default\n  vni: 10\n"), 5, "M0316", &["same VNI"]),
        (network("  overlay: default\n  vni: 11\n  vni: 12\n"), 3, "M0304", &["'vni' is given twice"]),
        (network("").replace("Network", "Netwrok"), 3, "M0301", &["the kind 'Netwrok' is not known", "'Network'"]),
        (network("").replace("vxmesh/v1", "vxmesh/v9"), 3, "M0302", &["'vxmesh/v9' is not known", "vxmesh/v1"]),
        ("kind: Pdc\nmetadata: {name: ams}\n".to_owned(), 3, "M0303", &["'apiVersion' is needed"]),
        ("{\"apiVersion\": \"vxmesh/v1\" \"kind\": \"Pdc\"}".to_owned(), 3, "M0305", &["<stdin>:1:"]),
        ("[node]\nname = \"fra-1\"\n".to_owned(), 3, "M0302", &["YAML or JSON"]),
        (String::new(), 3, "M0341", &["holds no object"]),
        (
            "apiVersion: vxmesh/v1\nkind: Overlay\nmetadata: {name: two}\nspec: {udpPort: 4789}\n".to_owned(),
            5,
            "M0317",
            &["leave 'udpPort' out"],
        ),
        (
            "apiVersion: vxmesh/v1\nkind: Token\nmetadata: {name: t}\nspec: {pdc: fra, namePattern: '*', uses: 1, expires: 2030-01-01T00:00:00Z}\n"
                .to_owned(),
            3,
            "M0326",
            &["a token is made with its secret", "meshctl token create"],
        ),
    ] {
        held(&format!("apply -f - <<<{text}"), &mesh.feed("apply -f -", &text), exit, code, says);
        assert_eq!(mesh.good("get all -o json"), before, "{text}");
    }
}

/// A folder with a copy of a credential.
fn copied(from: &Path, change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    change(folder.path());
    folder
}

#[test]
fn a_credential_that_is_not_whole_or_of_another_mesh_is_called_so_by_its_file() {
    let mesh = Management::start();
    let other = Management::configure("127.0.0.1:1").0;
    let (own, theirs) = (mesh.keys().join("admin"), other.path().join("keys/admin"));
    let cut = |name: &'static str| {
        move |folder: &Path| {
            let text = std::fs::read(folder.join(name)).unwrap();
            std::fs::write(folder.join(name), &text[..text.len() / 2]).unwrap();
        }
    };
    let gone = |name: &'static str| move |folder: &Path| std::fs::remove_file(folder.join(name)).unwrap();
    let empty = |name: &'static str| move |folder: &Path| std::fs::write(folder.join(name), "").unwrap();
    let take = |name: &'static str| {
        let theirs = theirs.clone();
        move |folder: &Path| {
            std::fs::copy(theirs.join(name), folder.join(name)).unwrap();
        }
    };
    let cases: Vec<(tempfile::TempDir, &str, Vec<&str>)> = vec![
        (copied(&own, cut("ca.crt")), "M0810", vec!["ca.crt cannot be used: it is cut"]),
        (copied(&own, cut("admin.crt")), "M0810", vec!["admin.crt cannot be used: it is cut"]),
        (copied(&own, cut("admin.key")), "M0810", vec!["admin.key cannot be used: it is cut"]),
        (copied(&own, empty("admin.key")), "M0810", vec!["admin.key cannot be used: it is cut, empty"]),
        (copied(&own, gone("ca.crt")), "M0810", vec!["ca.crt cannot be used: there is no such file"]),
        (copied(&own, gone("admin.key")), "M0810", vec!["admin.key cannot be used: there is no such file"]),
        (copied(&own, take("ca.crt")), "M0810", vec!["admin.crt is not of the installation that ca.crt is of"]),
        (copied(&theirs, |_| {}), "M0104", vec!["cannot prove that it is a management server"]),
    ];
    for (folder, code, says) in cases {
        let credential = folder.path().display().to_string();
        let ended = run(MESHCTL, &["--credential", &credential, "--management", mesh.address(), "status"]);
        held("status", &ended, 6, code, &says);
    }
    let nobody = copied(&own, empty("management"));
    let ended = run(MESHCTL, &["--credential", &nobody.path().display().to_string(), "status"]);
    held("status", &ended, 2, "M0109", &["management is empty"]);
    held("status", &run(MESHCTL, &["--credential", "/nonexistent", "status"]), 6, "M0810", &["no such folder"]);
    held("status", &run(MESHCTL, &["status"]), 6, "M0810", &["no credential", "meshctl join"]);
}

#[test]
fn a_server_that_is_not_there_is_told_from_one_that_is_elsewhere() {
    let mesh = Management::start();
    let own = mesh.keys().join("admin").display().to_string();
    let ask = |address: &str| run(MESHCTL, &["--credential", &own, "--management", address, "status"]);
    held("status", &ask("127.0.0.1:1"), 7, "M0101", &["127.0.0.1:1 does not answer", "listens on TCP 7443"]);
    held("status", &ask("mgmt.invalid"), 7, "M0101", &["mgmt.invalid:7443 does not answer"]);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("meshd.sock").display().to_string();
    let ended = run(MESHCTL, &["--socket", &socket, "status"]);
    held("status", &ended, 7, "M0101", &["there is no such socket", "systemctl start meshd", "meshctl join"]);
    let ended = run(MESHCTL, &["tunnel", "list", "--management", mesh.address()]);
    held("tunnel list", &ended, 2, "M0136", &["it asks the meshd of a node"]);
}

#[test]
fn a_slip_with_a_token_gets_its_words_and_spends_nothing() {
    let mesh = readme();
    let token = mesh.good("token create --pdc fra").trim().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("meshd.toml").display().to_string();
    let path = folder.path().join("token").display().to_string();
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    let join = |words: &[&str]| run(MESHCTL, &[&["join", "--config", &config, "--no-start"], words].concat());
    let (a, b) = token.split_at(token.len() / 2);
    for (text, code, says) in [
        (format!("{a}\n{b}\n"), "M0243", "copied in pieces"),
        (format!("{a} {b}"), "M0243", "copied in pieces"),
        (a.to_owned(), "M0243", "a part is missing"),
        (b.to_owned(), "M0242", "a token starts with 'vxm1.'"),
        (format!("{token}x"), "M0243", "a part is missing or mistyped"),
        (String::new(), "M0242", "the token is empty"),
    ] {
        write(&text);
        held("join", &join(&["--token-file", &path, "--name", "fra-2"]), 3, code, &[says, "meshctl token create"]);
    }
    held("join", &join(&[a, b]), 3, "M0243", &["in pieces", "one line"]);
    held("join", &join(&["mgmt-1", "mgmt-2", "--token-file", &path]), 3, "M0242", &["mgmt-2", "--management"]);
    held("join", &join(&[&token, &token.replace("vxm1.", "vxm1.x")]), 2, "M0135", &["two tokens"]);
    let mut twice = command(MESHCTL, &["join", "--config", &config, "--token-file", &path]);
    held("join", &crate::ended::run(twice.env("VXMESH_TOKEN", &token), b""), 2, "M0135", &["two tokens"]);
    held("join", &join(&[]), 2, "M0201", &["no token", "meshctl token create"]);
    held("join", &join(&["--token-file", "/nonexistent"]), 2, "M0201", &["/nonexistent"]);
    held("join", &join(&["--phase", "preflight", "--name", "x"]), 2, "M0136", &["--name"]);
    held("join", &join(&["--credential", "c"]), 2, "M0136", &["--credential"]);
    assert!(mesh.good("token list").contains("0/1"), "none of these has used it");
    assert!(!Path::new(&config).exists(), "and nothing was written");
}

#[test]
fn every_example_is_applied_in_order_and_the_programs_have_one_style() {
    let mesh = Management::start();
    for name in ["two-pdcs", "policies", "floating-address", "foreign-peer", "local-guests"] {
        mesh.good(&format!("apply -f {}", file(&format!("examples/manifests/{name}.yaml"))));
    }
    let folder = std::fs::read_dir(file("examples/manifests")).unwrap();
    assert_eq!(folder.count(), 5, "each is named here");
    for (program, words, exit) in [
        (MESHMGR, &["strat"][..], 2),
        (MESHMGR, &["run", "--colour"], 2),
        (MESHMGR, &["check-config", "--config", "/nonexistent"], 4),
        (crate::program::MESHD, &["strat"], 2),
        (crate::program::MESHD, &["check-config", "--config", "/nonexistent"], 1),
        (MESHCTL, &["strat"], 2),
    ] {
        let ended = run(program, words);
        assert_eq!(ended.code, Some(exit), "{words:?}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("error[M") && ended.stderr.contains("\n  "), "{words:?}: {}", ended.stderr);
    }
}

#[test]
fn a_node_that_nothing_has_joined_as_gets_another_name() {
    let mesh = readme();
    mesh.good("port set web --label team=shop");
    assert_eq!(mesh.good("node rename fra-1 front"), "node/fra-1 is called front now\n");
    assert!(mesh.good("port show web").contains("node: front"));
    let events = mesh.good("events --kind rename");
    assert!(events.contains("node fra-1 is called front now, and so say port web"), "{events}");
    assert!(mesh.good("events --node front").contains("rename") && mesh.good("status --node front").contains("front"));
    assert!(mesh.good("port list --label team=shop").contains("web"));
    assert!(!mesh.good("get port -l team=none").contains("web"));
    mesh.good("port set web --label team=");
    assert!(!mesh.good("port show web").contains("shop"));
}
