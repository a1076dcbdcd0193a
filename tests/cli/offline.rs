//! What can be said without asking anybody.

use std::process::Stdio;

use crate::program::{MESHCTL, MESHD, command, feed, file, run};

#[test]
fn the_help_names_every_command() {
    let ended = run(MESHCTL, &["--help"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let commands: Vec<&str> = ended
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let known = [
        "join", "leave", "status", "explain", "events", "apply", "diff", "get", "pdc", "node", "overlay", "network",
        "port", "token", "policy", "table", "tunnel", "mtu", "lab", "help",
    ];
    assert_eq!(commands, known);
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_would_be_right() {
    for (arguments, says) in [
        (&["netwrok", "list"][..], "network"),
        (&["network", "create", "blue", "--vni", "0"], "a network's VNI is 1 to 16777214, not 0"),
        (&["network", "create", "blue", "--overlay", "default"], "--vni is needed"),
        (&["network", "create", "blue", "--flood", "no"], "known: one of off, suppress, replicate"),
        (&["network", "create", "blue", "--cidr", "10.0.0.1/24"], "the prefix is 10.0.0.0/24"),
        (&["port", "create", "p1", "--mac", "1:2:3"], "is not an Ethernet address"),
        (&["token", "create", "--pdc", "fra", "--ttl", "60"], "'60' has no unit"),
        (&["get", "netwroks"], "did you mean 'network'?"),
        (&["explain", "--from", "p1", "--to", "a b"], "is no port, Ethernet or IP address"),
        (&["policy", "create", "p", "--between", "fra"], "neither pdc:NAME nor node:NAME"),
        (&["--timeout", "0s", "status"], "cannot be zero"),
        (&[], "Usage: meshctl"),
    ] {
        let ended = run(MESHCTL, arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{arguments:?}: {says:?} is not in\n{}", ended.stderr);
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
}

#[test]
fn a_wrong_manifest_is_shown_with_a_caret_before_anybody_is_asked() {
    let text =
        "apiVersion: vxmesh/v1\nkind: Network\nmetadata: { name: blue }\nspec:\n  overlay: default\n  vnii: 10\n";
    let ended = feed(MESHCTL, &["apply", "-f", "-"], text);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""));
    assert_eq!(
        ended.stderr,
        "error[M0301]: the key 'vnii' is not known\n --> <stdin>:6:3\n  |\n6 |   vnii: 10\n  |   ^^^^\n  \
         help: did you mean 'vni'?\n  help: known here: overlay, vni, cidr, gateway, mtu, owner, learning, nodes, flood, groupRate\n"
    );
    let json = feed(MESHCTL, &["apply", "-f", "-", "-o", "json"], text);
    let said: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, json.stderr.as_str()), (Some(3), ""));
    assert_eq!((said["error"]["code"].as_str(), said["error"]["place"]["line"].as_u64()), (Some("M0301"), Some(6)));
    let gone = run(MESHCTL, &["diff", "-f", "/nonexistent.yaml"]);
    assert_eq!(gone.code, Some(4), "{}", gone.stderr);
}

#[test]
fn a_wrong_table_file_is_shown_with_a_caret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("10.json");
    std::fs::write(&path, "{\n  \"2:8:20:a:0:7\": {\"ip\": \"10.0.0.1\", \"port\": 4789, \"vlan\": 5}\n}\n").unwrap();
    let ended = run(MESHCTL, &["table", "import", path.to_str().unwrap(), "--network", "blue"]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("10.json:2:52\n") && ended.stderr.contains("Joyent fork"), "{}", ended.stderr);
    assert!(ended.stderr.contains("help: --lenient leaves out and lists"), "{}", ended.stderr);
}

#[test]
fn a_closed_pipe_is_quiet() {
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let mut child = command(MESHCTL, &["help"]).stdout(write).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert!(child.wait().unwrap().code().is_some_and(|code| code == 0), "{said}");
    assert_eq!(said, "");
}

#[test]
fn a_server_that_is_away_ends_with_7_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("meshd.sock");
    let ended = run(MESHCTL, &["--socket", socket.to_str().unwrap(), "status"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(7), ""));
    assert!(ended.stderr.contains(&format!("no meshd answers on {}", socket.display())), "{}", ended.stderr);
    assert!(ended.stderr.contains("systemctl start meshd"), "{}", ended.stderr);
    let missing = run(MESHCTL, &["--credential", folder.path().to_str().unwrap(), "network", "list"]);
    assert_eq!(missing.code, Some(6));
    assert!(missing.stderr.contains("ca.crt cannot be used: there is no such file"), "{}", missing.stderr);
}

#[test]
fn the_reference_file_of_a_node_is_valid() {
    let ended = run(MESHD, &["check-config", &file("examples/meshd.toml")]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn a_wrong_file_of_a_node_is_shown_with_a_caret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meshd.toml");
    std::fs::write(&path, "management = [\"m:7443\"]\n[mtu]\nguest = \"1400\"\n").unwrap();
    let ended = run(MESHD, &["check-config", path.to_str().unwrap()]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let caret = "3 | guest = \"1400\"\n  |         ^^^^^^\n  help: write it without quotes";
    assert!(ended.stderr.contains(caret), "{}", ended.stderr);
}
