use super::*;

const V4: Family = Family::V4;
const V6: Family = Family::V6;

/// Underlay, then without / with VLAN tag for: plain v4, plain v6, A v4/v4, A v6/v4, A v6/v6, B v4, B v6.
const ORACLE: &[(u16, [(u16, u16); 7])] = &[
    (1280, [(1230, 1226), (1210, 1206), (1170, 1166), (1150, 1146), (1130, 1126), (1198, 1194), (1178, 1174)]),
    (1420, [(1370, 1366), (1350, 1346), (1310, 1306), (1290, 1286), (1270, 1266), (1338, 1334), (1318, 1314)]),
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

fn span(carrier: Carrier, underlay: u16, measured: Option<u16>) -> Span {
    Span { carrier, underlay, measured }
}

fn fixed(n: u16) -> MtuPolicy {
    MtuPolicy { fixed: Some(mtu(n)), ..MtuPolicy::default() }
}

#[test]
fn a_network_gets_the_smallest_of_its_paths() {
    let spans = [(Carrier::Plain(V4), 1500), (Carrier::Compact(V4), 1500), (Carrier::Compact(V4), 1420)];
    let spans = spans.map(|(carrier, underlay)| span(carrier, underlay, None));
    let of = |spans: &[Span], alone| guest(MtuPolicy::default(), false, spans, alone).mtu.get();
    assert_eq!(of(&spans, 1500), 1338);
    assert_eq!(of(&spans[..1], 1500), 1450);
    assert_eq!(of(&[], 9000), 8950);
}

#[test]
fn what_was_measured_counts_where_it_is_smaller_than_what_is_computed() {
    let of = |measured| guest(MtuPolicy::default(), false, &[span(Carrier::Compact(V4), 1500, measured)], 1500);
    assert_eq!(of(None).mtu.get(), 1418);
    assert_eq!(of(Some(1400)).mtu.get(), 1318);
    assert_eq!(of(Some(9000)).mtu.get(), 1418, "the ends' interfaces still bound it");
    assert!(of(Some(1400)).sum.to_string().starts_with("1400 measured - 20 IPv4"));
    assert!(of(Some(1500)).sum.to_string().starts_with("1500 underlay - 20 IPv4"));
}

#[test]
fn a_fixed_number_is_kept_and_what_is_missing_is_said() {
    let spans = [span(Carrier::Compact(V4), 1500, Some(1400))];
    let guest = guest(fixed(1400), false, &spans, 1500);
    assert_eq!((guest.mtu.get(), guest.missing), (1400, 82));
    assert_eq!(super::guest(fixed(1300), false, &spans, 1500).missing, 0);
}

#[test]
fn guests_with_ipv6_never_get_less_than_1280() {
    let spans = [span(Carrier::Compact(V4), 1280, None)];
    let of = |ipv6| guest(MtuPolicy::default(), ipv6, &spans, 1500);
    assert_eq!((of(false).mtu.get(), of(false).missing), (1198, 0));
    assert_eq!((of(true).mtu.get(), of(true).missing), (1280, 82));
}

#[test]
fn only_the_impossible_is_refused() {
    let tunnel = span(Carrier::Compact(V4), 1500, None);
    let plain = span(Carrier::Plain(V4), 1500, None);
    let strict = |n, oversize| check(MtuPolicy { oversize, ..fixed(n) }, false, &[tunnel]);
    assert_eq!(check(fixed(1500), false, &[tunnel]), Ok(()), "tunnels carry it in fragments");
    for mode in [Oversize::TooBig, Oversize::Drop] {
        assert_eq!(strict(1418, mode), Ok(()));
        assert!(matches!(strict(1419, mode), Err(MtuError::TooLarge { missing: 1, .. })));
    }
    assert!(matches!(check(fixed(1500), false, &[tunnel, plain]), Err(MtuError::TooLarge { missing: 50, .. })));
    let error = check(fixed(1200), true, &[]).unwrap_err().to_string();
    assert_eq!(error, "an MTU of 1200 is too small for IPv6: 80 bytes are missing to 1280");
    assert_eq!(check(fixed(1200), false, &[]), Ok(()));
    let error = check(fixed(65_535), false, &[]).unwrap_err().to_string();
    assert_eq!(
        error,
        "an MTU of 65535 does not fit: it is 50 bytes too large for \
         65535 largest IP packet - 20 IPv4 - 8 UDP - 8 VXLAN - 14 Ethernet = 65485"
    );
    let nothing = check(MtuPolicy::default(), false, &[span(Carrier::Plain(V4), 600, None)]);
    assert!(matches!(nothing, Err(MtuError::NothingFits { missing: 26, .. })));
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

/// Numbers of a cell like `1230/1226`.
fn cell(text: &str) -> Option<(u16, u16)> {
    let (bare, tagged) = text.trim().split_once('/')?;
    Some((bare.parse().ok()?, tagged.parse().ok()?))
}

#[test]
fn the_page_for_operators_says_what_the_code_says() {
    let page = include_str!("../../docs/mtu.md");
    let mut underlays = Vec::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        let Ok(underlay) = cells[0].trim().parse::<u16>() else { continue };
        underlays.push(underlay);
        let numbers: Vec<(u16, u16)> = cells[1..].iter().filter_map(|text| cell(text)).collect();
        let computed = COLUMNS.map(|carrier| [false, true].map(|vlan| carrier.sum(underlay, vlan).guest()));
        assert_eq!(numbers, computed.map(|[bare, tagged]| (bare, tagged)), "{line}");
    }
    assert_eq!(underlays, [1280, 1420, 1460, 1492, 1500, 1800, 9000]);
}

proptest::proptest! {
    #[test]
    fn nobody_gets_more_than_the_tightest_path_carries_whole(
        sizes in proptest::collection::vec((600_u16..=9216, proptest::option::of(1200_u16..=9216), 0_usize..7), 1..8),
        vlan: bool,
    ) {
        let spans: Vec<Span> = sizes.iter().map(|(underlay, measured, n)| span(COLUMNS[*n], *underlay, *measured)).collect();
        let policy = MtuPolicy { vlan, ..MtuPolicy::default() };
        let got = guest(policy, false, &spans, 1500);
        for one in spans {
            let fits = one.sum(vlan).guest();
            proptest::prop_assert!(got.mtu.get() <= fits || got.mtu.get() == 576);
            proptest::prop_assert!(got.mtu.get().saturating_sub(fits) <= got.missing);
        }
    }
}
