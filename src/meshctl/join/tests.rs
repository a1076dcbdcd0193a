use super::*;

fn args(words: &[&str]) -> JoinArgs {
    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        join: JoinArgs,
    }
    <Program as clap::Parser>::try_parse_from(std::iter::once(&"join").chain(words)).unwrap().join
}

#[test]
fn addresses_get_the_port_that_they_lack() {
    for (given, whole) in [
        ("mgmt.example.net", "mgmt.example.net:7443"),
        ("mgmt.example.net:8443", "mgmt.example.net:8443"),
        ("10.0.0.1", "10.0.0.1:7443"),
        ("fd00::1", "[fd00::1]:7443"),
        ("[fd00::1]:9", "[fd00::1]:9"),
    ] {
        assert_eq!(with_port(given), whole);
    }
}

#[test]
fn the_written_file_is_valid_and_says_what_the_flags_said() {
    let args = args(&["--admin", "eth0", "--external", "203.0.113.5", "--listen", "51900"]);
    let text = config_text(&args, &["m:7443".into(), "n:7443".into()]);
    let config = Config::parse("f", &text).unwrap();
    assert_eq!(config.management, ["m:7443", "n:7443"]);
    assert_eq!((config.underlay.admin, config.underlay.external), (args.admin, args.external));
    assert_eq!(config.underlay.listen.get(), 51900);
}

#[test]
fn keys_are_made_once_and_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("keys");
    let name: NodeId = "a-1".parse().unwrap();
    let (first, old) = keys(&folder, &name).ok().unwrap();
    assert!(!old);
    let (second, old) = keys(&folder, &name).ok().unwrap();
    assert!(old);
    assert_eq!(first.public, second.public);
    assert_eq!(first.tls.as_str(), second.tls.as_str());
    let hash = |keys: &Keys| certs::Request::read(&keys.csr).unwrap().key_hash().to_owned();
    assert_eq!(hash(&first), hash(&second), "the same key is certified, so a lost answer is not a lost token");
    std::fs::write(folder.join(WIREGUARD_KEY), "spoilt").unwrap();
    let problem = keys(&folder, &name).err().unwrap().to_string();
    assert!(problem.contains("wireguard.key") && problem.contains("a new key is made"), "{problem}");
}

#[test]
fn a_machine_that_has_joined_keeps_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("management = ['m:1']\n[paths]\nkeys = '{}'\n", folder.path().display());
    let config = Config::parse("f", &text).unwrap();
    assert!(not_joined(&config).is_ok());
    std::fs::write(folder.path().join(CERTIFICATE), "x").unwrap();
    let problem = not_joined(&config).unwrap_err();
    assert_eq!(problem.exit, Exit::Conflict);
    assert!(problem.to_string().contains("meshctl leave"), "{problem}");
}

#[test]
fn flags_that_an_existing_file_would_silently_beat_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meshd.toml");
    std::fs::write(&path, "management = ['m:1']\n").unwrap();
    let path = path.to_str().unwrap();
    assert!(setup(&args(&["--config", path]), None).is_ok_and(|setup| setup.exists));
    let problem = setup(&args(&["--config", path, "--listen", "1"]), None).err().unwrap();
    assert_eq!((problem.code.as_str(), problem.exit), ("M0217", Exit::Usage));
    // A machine that has joined is told that first.
    let keys = folder.path().display();
    std::fs::write(path, format!("management = ['m:1']\n[paths]\nkeys = '{keys}'\n")).unwrap();
    std::fs::write(folder.path().join(CERTIFICATE), "x").unwrap();
    let problem = setup(&args(&["--config", path, "--admin", "eth0"]), None).err().unwrap();
    assert_eq!(problem.code, "M0216");
}

#[test]
fn a_refusal_for_the_pdc_points_at_the_line() {
    let text = "management = ['m:1']\n[node]\npdc = 'brn01'\n".to_owned();
    let setup = Setup { config: Config::parse("f", &text).unwrap(), text, exists: true };
    let problem = with_place(
        Problem::new("M0248", Exit::Denied, "the token is for PDC 'brno1'"),
        Path::new("meshd.toml"),
        &setup,
    );
    assert!(problem.to_string().contains("meshd.toml:3:7"), "{problem}");
    let other = with_place(Problem::new("M0245", Exit::Denied, "expired"), Path::new("meshd.toml"), &setup);
    assert_eq!(other.place, None);
}

#[test]
fn a_token_among_the_words_is_told_from_an_address() {
    assert!(is_token("vxm1.abc") && !is_token("mgmt.example.net"));
    let problem = read_token(&Access::default(), &args(&["mgmt", "vxm1.damaged"])).err().unwrap();
    assert_eq!(problem.code, "M0243");
}

#[test]
fn two_tokens_are_not_silently_one() {
    let token = "vxm1.abc";
    for (words, right) in [
        (vec![token], true),
        (vec!["mgmt", token], true),
        (vec!["--token-file", "f"], true),
        (vec![token, "vxm1.def"], false),
        (vec![token, token], false),
        (vec![token, "--token-file", "f"], false),
    ] {
        let judged = one_token(&args(&words), None);
        assert_eq!(judged.is_ok(), right, "{words:?}");
        assert!(judged.err().is_none_or(|problem| problem.code == "M0135"), "{words:?}");
    }
}

#[test]
fn a_name_that_nobody_gave_the_host_becomes_no_nodes() {
    for (name, nobodys) in [("localhost", true), ("12", true), ("fra-1", false), ("1a", false), ("", false)] {
        assert_eq!(is_nobodys(name), nobodys, "{name}");
    }
}
