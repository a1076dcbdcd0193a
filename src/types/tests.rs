use super::*;

#[test]
fn a_vni_is_one_to_2_to_the_24_minus_1() {
    for bad in [0, 1 << 24, u64::MAX] {
        assert!(Vni::try_from(bad).is_err(), "{bad}");
    }
    for good in [1, 10, (1 << 24) - 1] {
        assert_eq!(u64::from(Vni::try_from(good).unwrap().get()), good);
    }
    assert_eq!(Vni::try_from(0).unwrap_err().to_string(), "a network's VNI is 1 to 16777214, not 0");
    assert_eq!(size_of::<Option<Vni>>(), 4);
}

#[test]
fn a_name_is_a_dns_label() {
    for bad in ["", "../etc", "a/b", "A", "-a", "a-", "a.b", "a b", "ä", "a\n", &"x".repeat(64)] {
        assert!(bad.parse::<NetworkId>().is_err(), "{bad:?}");
    }
    for good in ["a", "blue", "fra-1", &"x".repeat(63)] {
        assert_eq!(good.parse::<NetworkId>().unwrap().to_string(), good);
    }
}

#[test]
fn mac_spellings_are_equal() {
    let long: Mac = "02:08:20:0A:00:07".parse().unwrap();
    assert_eq!("2:8:20:a:0:7".parse::<Mac>().unwrap(), long);
    assert_eq!(long.to_string(), "02:08:20:0a:00:07");
    for bad in [
        "",
        "2:8:20:a:0",
        "2:8:20:a:0:7:1",
        "2:8:20:a:0:777",
        "2:8:20:a:0:g",
        "02-08-20-0a-00-07",
        "::::::",
        "+2:8:20:a:0:7",
    ] {
        assert!(bad.parse::<Mac>().is_err(), "{bad}");
    }
}

#[test]
fn only_unicast_can_be_owned() {
    for bad in [Mac::BROADCAST, Mac::ZERO, Mac([0x33, 0x33, 0, 0, 0, 1]), Mac([1, 0, 0x5e, 0, 0, 1])] {
        assert_eq!(bad.unicast(), Err(MacError::NotUnicast(bad)));
    }
    assert!(Mac([2, 0, 0, 0, 0, 1]).is_unicast());
}

#[test]
fn host_bits_are_refused_with_the_prefix_that_was_meant() {
    let error = "10.0.1.20/28".parse::<Prefix>().unwrap_err();
    assert_eq!(error.to_string(), "10.0.1.20/28 has host bits set; the prefix is 10.0.1.16/28");
    assert!("2001:db8::/32".parse::<Prefix>().is_ok());
    assert!("10.0.0.0".parse::<Prefix>().is_err());
}

#[test]
fn interface_names_fit_the_kernel() {
    for bad in ["", "sixteen-letters-", "a/b", "a b", "..", "a:0", "ä"] {
        assert!(bad.parse::<IfName>().is_err(), "{bad}");
    }
    assert!("vb16777215.ffff".parse::<IfName>().is_ok());
}

#[test]
fn versions_compare_by_incarnation_first() {
    let old = Version { incarnation: 1, revision: 900 };
    let new = Version { incarnation: 2, revision: 3 };
    assert!(new > old);
}

#[test]
fn keys_are_44_characters_of_base64() {
    let text = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
    assert_eq!(text.parse::<PublicKey>().unwrap().to_string(), text);
    for bad in ["", "abc", "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8D==", "!"] {
        assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
    }
}

#[test]
fn wall_time_prints_rfc_3339() {
    assert_eq!(Wall::from_secs(1_795_000_000).to_string(), "2026-11-18T11:06:40Z");
}

#[test]
fn a_rate_of_frames_to_all_has_bounds_and_says_them() {
    for (text, good) in [
        ("10", true),
        ("100000", true),
        ("9", false),
        ("0", false),
        ("100001", false),
        ("-1", false),
        ("1k", false),
        ("", false),
    ] {
        let read = text.parse::<GroupRate>();
        assert_eq!(read.is_ok(), good, "{text}");
        if let Err(error) = read {
            let said = error.to_string();
            assert!(said.contains("10") && said.contains("100000") && said.contains("second"), "{text}: {said}");
        }
    }
}
