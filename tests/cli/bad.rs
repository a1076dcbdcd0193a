//! Objects that may not be: each is refused by the real server with its code, its exit code, the reason and the way on, and
//! nothing is changed.

use std::net::TcpListener;

use crate::online::Management;
use crate::program::{MESHMGR, file, run};

/// Ways to say what is wrong, the code and exit code that it has, and what is said.
type Case<'a> = (&'a str, i32, &'a str, &'a str);

fn objects(mesh: &Management) -> String {
    mesh.good("get all -o json")
}

#[test]
fn what_contradicts_other_objects_is_refused_and_changes_nothing() {
    let mesh = Management::start();
    mesh.good(&format!("apply -f {}", file("examples/manifests/two-pdcs.yaml")));
    mesh.good("network create green --overlay default --vni 11 --cidr 192.168.11.0/24 --gateway 192.168.11.1");
    mesh.good("port create g1 --network green --node fra-2 --mac 02:00:00:00:00:21 --ip 192.168.11.11");
    mesh.good("port create b9 --network blue --node fra-1 --mac 02:00:00:00:00:29 --interface tap-blue");
    let before = objects(&mesh);
    let cases: &[Case<'_>] = &[
        (
            "port create g2 --network green --node fra-1 --mac 02:00:00:00:00:21 --ip 192.168.11.12",
            5,
            "M0314",
            "'g1' and 'g2'",
        ),
        (
            "port create g2 --network green --node fra-1 --mac 02:00:00:00:00:22 --ip 192.168.11.11",
            5,
            "M0315",
            "192.168.11.11",
        ),
        (
            "port create g2 --network green --node fra-1 --mac 02:00:00:00:00:22 --ip 192.168.12.1",
            3,
            "M0321",
            "192.168.11.0/24",
        ),
        (
            "port create g2 --network green --node fra-1 --mac 02:00:00:00:00:22 --interface tap-blue",
            5,
            "M0349",
            "of network 'blue' and 'g2' of network 'green' name the same interface 'tap-blue' of node 'fra-1'",
        ),
        ("port create g2 --network gren --node fra-1 --mac 02:00:00:00:00:22", 3, "M0330", "did you mean 'green'?"),
        ("network create red --overlay default --vni 11", 5, "M0316", "another VNI"),
        ("network set green --gateway 192.168.12.1", 3, "M0319", "prefixes: 192.168.11.0/24"),
        ("network set green --cidr 192.168.99.0/24 --gateway 192.168.99.1", 3, "M0321", "192.168.11.11"),
        ("overlay create second --udp-port 4789", 5, "M0317", "leave --udp-port out"),
        ("overlay create second --udp-port 51820", 3, "M0318", "tunnels listen on it"),
        ("overlay create second --udp-port 53", 3, "M0318", "DNS"),
        ("pdc delete fra", 5, "M0313", "by node fra-1"),
        ("token create --pdc farn", 3, "M0330", "'farn' does not exist"),
    ];
    for (words, code, name, says) in cases {
        mesh.bad(words, *code, &format!("error[{name}]"));
        mesh.bad(words, *code, says);
        mesh.bad(words, *code, "nothing was changed");
        assert_eq!(objects(&mesh), before, "{words}");
    }
}

#[test]
fn a_manifest_with_one_wrong_object_changes_nothing_of_the_others() {
    let mesh = Management::start();
    mesh.good(&format!("apply -f {}", file("examples/manifests/two-pdcs.yaml")));
    let before = objects(&mesh);
    let network = |name: &str, spec: &str| {
        format!(
            "apiVersion: vxmesh/v1\nkind: Network\nmetadata: {{name: {name}}}\nspec:\n  overlay: default\n{spec}\n---\n"
        )
    };
    let good = network("good", "  vni: 77");
    for (bad, code, says) in [
        (network("red", "  vni: 0"), 3, &["<stdin>:13:8", "a network's VNI is 1 to 16777214, not 0"][..]),
        (network("red", "  vni: 16777216"), 3, &["<stdin>:13:8", "a network's VNI is 1 to 16777214"]),
        (network("red", "  vni: \"12\""), 3, &["<stdin>:13:3", "without quotes"]),
        (network("red", "  vni: 12\n  cidr: [10.1.2.3/24]"), 3, &["<stdin>:14:10", "the prefix is 10.1.2.0/24"]),
        (network("red", "  vni: 12\n  gatway: []"), 3, &["<stdin>:14:3", "did you mean 'gateway'?"]),
        (network("../../etc/passwd", "  vni: 12"), 3, &["<stdin>:10:", "../../etc/passwd"]),
        (
            network("red", "  vni: 12\n  cidr: [10.1.2.0/24]\n  gateway: [10.1.3.1]"),
            3,
            &["M0319", "nothing was changed"],
        ),
        (network("red", "  vni: 77"), 5, &["M0316", "nothing was changed"]),
    ] {
        let ended = mesh.feed("apply -f -", &format!("{good}{bad}"));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{bad}{}", ended.stderr);
        for word in says {
            assert!(ended.stderr.contains(word), "{word:?} is not in\n{}", ended.stderr);
        }
        assert_eq!(objects(&mesh), before, "{bad}");
    }
}

#[test]
fn a_refusal_names_every_bad_object_of_a_file_and_a_deletion_what_went_with_it() {
    let mesh = Management::start();
    mesh.good(&format!("apply -f {}", file("examples/manifests/two-pdcs.yaml")));
    let before = objects(&mesh);
    let network = |name: &str, overlay: &str| {
        format!(
            "apiVersion: vxmesh/v1\nkind: Network\nmetadata: {{name: {name}}}\nspec: {{overlay: {overlay}, vni: 77}}\n---\n"
        )
    };
    let text =
        network("one", "nope") + &network("good", "default") + &network("two", "nowhere") + &network("one", "default");
    let ended = mesh.feed("apply -f -", &text);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("'one' is in the request twice"), "{}", ended.stderr);
    let ended = mesh.feed("apply -f -", &(network("one", "nope") + &network("two", "nowhere")));
    for says in ["'nope' does not exist", "also [M0330] ", "'nowhere' does not exist", "nothing was changed"] {
        assert!(ended.stderr.contains(says), "{says:?} is not in\n{}", ended.stderr);
    }
    assert_eq!(objects(&mesh), before);
    mesh.good("network delete blue --cascade");
    let events = mesh.good("events --kind delete");
    assert!(events.contains("network blue, with its ports ") && events.contains("web-1"), "{events}");
}

#[test]
fn a_name_that_is_a_path_goes_nowhere() {
    let mesh = Management::start();
    mesh.good(&format!("apply -f {}", file("examples/manifests/two-pdcs.yaml")));
    for name in ["../node/fra-1", "..", "a/b", "%2e%2e", "blue?cascade=true", "/etc/passwd"] {
        for verb in ["show", "delete", "set"] {
            let ended = mesh.meshctl(&format!("network {verb} {name}"));
            assert!(matches!(ended.code, Some(2 | 3)), "{verb} {name}: {:?} {}", ended.code, ended.stderr);
            assert!(ended.stderr.contains("name"), "{verb} {name}: {}", ended.stderr);
        }
        let made = mesh.meshctl(&format!("network create {name} --overlay default --vni 12"));
        assert!(matches!(made.code, Some(2 | 3)), "{name}: {:?} {}", made.code, made.stderr);
    }
    assert!(mesh.good("network show blue").contains("vni: 10"));
}

#[test]
fn an_address_that_is_taken_names_who_has_it_and_a_second_server_stays_out() {
    let mesh = Management::start();
    let config = mesh.config();
    let second = run(MESHMGR, &["run", "--config", &config]);
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(
        second.stderr.contains("error[M0704]") && second.stderr.contains("systemctl status meshmgr"),
        "{}",
        second.stderr
    );
    let again = run(MESHMGR, &["init", "--config", &config]);
    assert_eq!(again.code, Some(5), "{}", again.stderr);
    assert!(again.stderr.contains("error[M0608]") && again.stderr.contains("nothing was changed"), "{}", again.stderr);
    mesh.good("status");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = Management::configure(&taken.local_addr().unwrap().to_string());
    let ended = run(MESHMGR, &["run", "--config", &other.1]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for says in
        ["error[M0609]", "cannot listen on 127.0.0.1", "ss -ltnp", "set another 'listen'", "nothing was changed"]
    {
        assert!(ended.stderr.contains(says), "{says:?} is not in\n{}", ended.stderr);
    }
}

#[test]
fn a_server_file_with_a_wrong_key_type_or_unit_is_shown_with_a_caret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meshmgr.toml").display().to_string();
    for (text, at, says) in [
        ("addreses = [\"m:1\"]\n", "1:1", "did you mean 'addresses'?"),
        ("addresses = \"m:1\"\n", "1:13", "stands where a list is needed"),
        ("addresses = [\"m:1\"]\n[certificates]\nnode = \"30\"\n", "3:8", "'30' has no unit"),
        ("addresses = [\"m:1\"]\n[certificates]\nnode = \"30 parsecs\"\n", "3:8", "parsecs"),
        ("addresses = [\"m:1\"\n", "1:", "error[M0305]"),
    ] {
        std::fs::write(&path, text).unwrap();
        for verb in ["init", "run"] {
            let ended = run(MESHMGR, &[verb, "--config", &path]);
            assert_eq!(ended.code, Some(3), "{text}: {}", ended.stderr);
            assert!(ended.stderr.contains(&format!("meshmgr.toml:{at}")), "{at} is not in\n{}", ended.stderr);
            assert!(ended.stderr.contains(says), "{says:?} is not in\n{}", ended.stderr);
        }
    }
}
