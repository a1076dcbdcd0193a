use super::*;

const MINIMAL: &str = "management = ['m:7443']\n";

fn refused(text: &str) -> String {
    Config::parse("meshd.toml", text).unwrap_err().to_string()
}

/// Refuses `rest` behind the minimal file, at `line:column`, with `what`.
fn refuses(rest: &str, at: &str, what: &str) {
    let text = refused(&format!("{MINIMAL}{rest}"));
    assert!(text.contains(&format!("meshd.toml:{at}\n")), "{at} is not in\n{text}");
    assert!(text.contains(what), "{what:?} is not in\n{text}");
}

#[test]
fn every_key_but_management_has_a_default() {
    let config = Config::parse("meshd.toml", MINIMAL).unwrap();
    assert_eq!(config.underlay.listen.get(), LISTEN);
    assert_eq!(config.underlay.lanes, Lanes::Auto);
    assert_eq!(config.underlay.suite, Ciphers::Auto);
    assert_eq!(config.mtu.policy(), MtuPolicy::default());
    assert!(config.mtu.clamp_mss);
    assert_eq!(config.offload, Switches::default());
    assert_eq!(config.table, Table::Management);
    assert_eq!(config.log, Level::Info);
    assert_eq!(config.socket(), PathBuf::from("/run/vxmesh/meshd.sock"));
    let text = refused("");
    assert!(text.contains("'management' is needed") && text.contains("help: management ="), "{text}");
}

#[test]
fn an_unknown_key_is_shown_with_its_place_and_the_nearest_known_one() {
    let text = refused("management = ['m:7443']\n[underlay]\nlistne = 3\n");
    let expected = "error[M0301]: the key 'listne' is not known\n --> meshd.toml:3:1\n  |\n3 | listne = 3\n  | ^^^^^^\n  \
                    help: did you mean 'listen'?\n  help: known here: admin, external, listen, lanes, suite";
    assert_eq!(text, expected);
    refuses("[undrelay]\n", "2:2", "did you mean 'underlay'?");
    refuses("[mtu]\nclampMss = true\n", "3:1", "did you mean 'clamp_mss'?");
}

#[test]
fn a_wrong_type_says_what_stands_there_and_what_is_needed() {
    refuses("[mtu]\nguest = \"1400\"\n", "3:9", "help: write it without quotes");
    refuses("[mtu]\nguest = 14.5\n", "3:9", "the fraction 14.5 stands where a whole number");
    refuses("[mtu]\nclamp_mss = 'yes'\n", "3:13", "the text \"yes\" stands where true or false is needed");
    refuses("[node]\nname = 1\n", "3:8", "the number 1 stands where a text in quotes is needed");
    refuses("node = 'fra-1'\n", "2:8", "the text \"fra-1\" stands where a table of keys is needed");
    assert!(refused("management = 'm:7443'").contains("stands where a list is needed"));
}

#[test]
fn a_number_out_of_its_range_says_the_range() {
    refuses("[underlay]\nlisten = 70000\n", "3:10", "a UDP port is 1 to 65535, not 70000");
    refuses("[underlay]\nlisten = 0\n", "3:10", "a UDP port is 1 to 65535, not 0");
    refuses("[underlay]\nsuite = 'rot13'\n", "3:9", "the word 'rot13' is not known");
    refuses("[underlay]\nlanes = 0\n", "3:9", "a node runs 1 to 8 lanes, not 0");
    refuses("[underlay]\nlanes = -1\n", "3:9", "\"auto\" or a whole number");
    refuses("[underlay]\nlanes = 'many'\n", "3:9", "\"auto\" or a whole number");
    refuses("[mtu]\nguest = 575\n", "3:9", "an MTU is 576 to 65535, not 575");
    refuses("[mtu]\nunderlay = 100000\n", "3:12", "an MTU is 576 to 65535, not 100000");
    refuses("[underlay]\nlanes = 9\n", "3:9", "a node runs 1 to 8 lanes, not 9");
}

#[test]
fn a_wrong_word_says_the_known_ones() {
    refuses("[mtu]\npolicy = 'automatic'\n", "3:10", "did you mean 'auto'?");
    refuses("[mtu]\noversize = 'toobig'\n", "3:12", "did you mean 'too-big'?");
    refuses("[offload]\ntap = 'of'\n", "3:7", "did you mean 'off'?");
    refuses("[offload]\nudp_gro = 'on'\n", "3:11", "known here: auto, off");
    refuses("[offload]\nequal_trains = 'avoided'\n", "3:16", "did you mean 'avoid'?");
    refuses("[offload]\nudp_segments = 'off'\n", "3:1", "did you mean 'udp_segment'?");
    refuses("[log]\nlevel = 'loud'\n", "3:9", "known here: error, warn, info, debug, trace");
    refuses("[table]\nsource = 'file'\n", "3:10", "did you mean 'files'?");
}

#[test]
fn names_and_addresses_are_checked_where_they_stand() {
    refuses("[node]\nname = '../x'\n", "3:8", "a name holds only a-z, 0-9 and '-'");
    refuses("[underlay]\nadmin = 'a b'\n", "3:9", "neither an interface");
    refuses("[underlay]\nadmin = '0.0.0.0'\n", "3:9", "nobody's own address");
    for bad in ["m", "m:0", "m:70000", ":1", "[::1:7443", "::1:7443", "m/x:1", "http://m:7443"] {
        let text = refused(&format!("management = ['{bad}']"));
        assert!(text.contains("like mgmt.example.net:7443") && text.contains("meshd.toml:1:15"), "{text}");
    }
    for good in ["m:1", "10.0.0.1:7443", "[::1]:7443", "a-b.example:65535"] {
        assert!(Config::parse("f", &format!("management = ['{good}']")).is_ok(), "{good}");
    }
}

#[test]
fn a_text_that_is_not_toml_says_where_it_breaks() {
    assert!(refused("management = ['m:7443'\n").contains("meshd.toml:1:23"));
    refuses("management = ['n:7443']\n", "2:1", "given twice");
    refuses("[mtu\n", "2:5", "error[M0305]");
}

#[test]
fn an_mtu_that_cannot_be_is_refused_with_the_missing_bytes() {
    refuses("[mtu]\npolicy = 'fixed'\nguest = 65500\n", "4:9", "it is 15 bytes too large for 65535 largest IP packet");
    refuses("[mtu]\nunderlay = 600\n", "3:12", "the least is 576 and 26 bytes are missing");
    let strict = "[mtu]\npolicy = 'fixed'\nunderlay = 1500\noversize = 'drop'\nguest = ";
    refuses(&format!("{strict}1460\n"), "6:9", "it is 10 bytes too large for 1500 underlay");
    assert!(Config::parse("f", &format!("{MINIMAL}{strict}1450\n")).is_ok());
    let cut = strict.replace("drop", "fragment");
    assert!(Config::parse("f", &format!("{MINIMAL}{cut}1460\n")).is_ok(), "tunnels carry it in fragments");
}

#[test]
fn a_fixed_mtu_is_1400_where_no_number_is_given() {
    let fixed = |text: &str| Config::parse("f", &format!("{MINIMAL}[mtu]\n{text}")).unwrap().mtu.fixed.map(Mtu::get);
    assert_eq!(fixed("policy = 'fixed'"), Some(1400));
    assert_eq!(fixed("policy = 'fixed'\nguest = 1300"), Some(1300));
    assert_eq!(fixed("policy = 'auto'\nguest = 1300"), None);
    assert_eq!(
        (fixed("guest = 1300"), fixed("vlan = true")),
        (Some(1300), None),
        "a number that nobody calls off is meant"
    );
    assert!(Config::parse("f", &format!("{MINIMAL}[mtu]\nvlan = true")).unwrap().mtu.policy().vlan);
}

const FILES: &str = "[node]\nname = 'a-1'\n[table]\nsource = 'files'\nunderlay = ['10.0.0.0/24']\n";

#[test]
fn a_node_runs_from_table_files_without_a_management_node() {
    let key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
    let text = format!(
        "{FILES}[[table.peer]]\nname = 'b-1'\nvtep = '203.0.113.5'\npublic_key = '{key}'\n\
         [[table.network]]\noverlay = 'default'\nvni = 10\ncidr = ['192.168.10.0/24']\ngateway = ['192.168.10.1']\n"
    );
    let config = Config::parse("meshd.toml", &text).unwrap();
    let Table::Files(files) = config.table else { panic!() };
    assert_eq!(files.dir, PathBuf::from("/var/lib/vxmesh/table"));
    assert_eq!(files.peers[0].endpoint, "203.0.113.5:51820".parse().unwrap());
    assert_eq!(files.networks[0].name.as_str(), "default-10");
    assert!(refused("[table]\nsource = 'files'\n").contains("'name' is needed in [node]"));
}

#[test]
fn what_would_go_in_clear_by_mistake_is_refused() {
    let peer = |vtep: &str| {
        let key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
        refused(&format!("{FILES}[[table.peer]]\nname = 'b-1'\nvtep = '{vtep}'\npublic_key = '{key}'\n"))
    };
    let text = peer("10.0.0.7");
    assert!(text.contains("meshd.toml:8:8") && text.contains("frames to it would go in clear"), "{text}");
    refuses("[table]\nunderlay = ['10.0.0.1/24']\n", "3:12", "the prefix is 10.0.0.0/24");
    let idle = refused(&format!("{MINIMAL}[table]\nunderlay = ['10.0.0.0/24']\n"));
    assert!(idle.contains("its source is \"management\""), "{idle}");
}
