use super::*;

const V4: Family = Family::V4;
const V6: Family = Family::V6;

/// Underlay, then without / with VLAN tag for: plain v4, plain v6, A v4/v4, A v6/v4, A v6/v6, B v4, B v6.
const ORACLE: &[(u16, [(u16, u16); 7])] = &[
    (1280, [(1230, 1226), (1210, 1206), (1170, 1166), (1150, 1146), (1130, 1126), (1198, 1194), (1178, 1174)]),
    (1460, [(1410, 1406), (1390, 1386), (1350, 1346), (1330, 1326), (1310, 1306), (1378, 1374), (1358, 1354)]),
    (1492, [(1442, 1438), (1422, 1418), (1382, 1378), (1362, 1358), (1342, 1338), (1410, 1406), (1390, 1386)]),
    (1500, [(1450, 1446), (1430, 1426), (1390, 1386), (1370, 1366), (1350, 1346), (1418, 1414), (1398, 1394)]),
    (1800, [(1750, 1746), (1730, 1726), (1690, 1686), (1670, 1666), (1650, 1646), (1718, 1714), (1698, 1694)]),
    (9000, [(8950, 8946), (8930, 8926), (8890, 8886), (8870, 8866), (8850, 8846), (8918, 8914), (8898, 8894)]),
];

const COLUMNS: [Carrier; 7] = [
    Carrier::Plain(V4),
    Carrier::Plain(V6),
    Carrier::Standard { outer: V4, inner: V4 },
    Carrier::Standard { outer: V6, inner: V4 },
    Carrier::Standard { outer: V6, inner: V6 },
    Carrier::Compact(V4),
    Carrier::Compact(V6),
];

fn mtu(n: u16) -> Mtu {
    Mtu::try_from(u64::from(n)).unwrap()
}

#[test]
fn every_vector_of_the_oracle() {
    for (underlay, row) in ORACLE {
        for (carrier, (bare, tagged)) in COLUMNS.into_iter().zip(row) {
            assert_eq!(carrier.sum(*underlay, false).guest(), *bare, "{underlay} {carrier:?}");
            assert_eq!(carrier.sum(*underlay, true).guest(), *tagged, "{underlay} {carrier:?} tagged");
        }
    }
}

#[test]
fn the_underlay_that_a_1500_byte_guest_needs() {
    for (carrier, needs) in [
        (Carrier::Plain(V4), 1554),
        (Carrier::Standard { outer: V4, inner: V4 }, 1614),
        (Carrier::Standard { outer: V6, inner: V4 }, 1634),
    ] {
        assert_eq!(carrier.sum(needs, true).guest(), 1500);
    }
}

#[test]
fn the_ancestors_1400_does_not_fit_and_the_missing_bytes_are_named() {
    let sum = Carrier::Standard { outer: V4, inner: V4 }.sum(1500, false);
    let error = sum.check(mtu(1400)).unwrap_err().to_string();
    assert_eq!(
        error,
        "an MTU of 1400 does not fit: it is 10 bytes too large for \
         1500 underlay - 20 IPv4 - 8 UDP - 32 WireGuard - 20 IPv4 - 8 UDP - 8 VXLAN - 14 Ethernet = 1390"
    );
    assert!(Carrier::Compact(V4).sum(1500, false).check(mtu(1400)).is_ok());
    assert!(Carrier::Compact(V6).sum(1500, false).check(mtu(1400)).is_err());
}

#[test]
fn the_sum_reads_like_a_sum() {
    let sum = Carrier::Compact(V4).sum(1500, false);
    assert_eq!(sum.to_string(), "1500 underlay - 20 IPv4 - 8 UDP - 32 WireGuard - 8 VXLAN - 14 Ethernet = 1418");
}

#[test]
fn a_network_gets_the_smallest_of_its_paths() {
    let paths = [(Carrier::Plain(V4), 1500), (Carrier::Compact(V4), 1500), (Carrier::Compact(V4), 1420)];
    let computed = MtuPolicy::default();
    assert_eq!(guest(computed, &paths, 1500).unwrap().get(), 1338);
    assert_eq!(guest(computed, &paths[..1], 1500).unwrap().get(), 1450);
    assert_eq!(guest(computed, &[], 9000).unwrap().get(), 8950);
    let fixed = MtuPolicy { fixed: Some(mtu(1300)), ..computed };
    assert_eq!(guest(fixed, &paths, 1500).unwrap().get(), 1300);
    let too_large = MtuPolicy { fixed: Some(mtu(1400)), ..computed };
    assert!(guest(too_large, &paths, 1500).unwrap_err().to_string().contains("62 bytes too large"));
}

#[test]
fn an_underlay_that_carries_nothing_is_refused() {
    let error = Carrier::Compact(V6).sum(600, false).mtu().unwrap_err();
    assert_eq!(
        error.to_string(),
        "no guest MTU fits: 600 underlay - 40 IPv6 - 8 UDP - 32 WireGuard - 8 VXLAN - 14 Ethernet = 498; \
         the least is 576 and 78 bytes are missing"
    );
}
