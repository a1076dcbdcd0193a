use super::*;

#[test]
fn of_several_default_routes_the_least_metric_counts() {
    let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
    let route = |name: &str, to: &str, metric: u32, mask: &str| {
        format!("{name}\t{to}\t0100000A\t0003\t0\t0\t{metric}\t{mask}\t0\t0\t0\n")
    };
    let (wifi, wire, lan) = (
        route("wlan0", "00000000", 600, "00000000"),
        route("eth0", "00000000", 100, "00000000"),
        route("eth1", "0000000A", 0, "00FFFFFF"),
    );
    assert_eq!(default_v4(&format!("{head}{lan}{wifi}{wire}")).unwrap().as_str(), "eth0");
    assert_eq!(default_v4(&format!("{head}{lan}")), None);
    assert_eq!(default_v4(""), None);
}

#[test]
fn the_kernels_own_unreachable_route_is_not_a_default_route() {
    let zero = "0".repeat(32);
    let line =
        |metric: &str, name: &str| format!("{zero} 00 {zero} 00 {zero} {metric} 00000001 00000000 00000003 {name}\n");
    let unreachable = line("ffffffff", "lo");
    assert_eq!(default_v6(&unreachable), None);
    assert_eq!(default_v6(&format!("{unreachable}{}", line("00000400", "eth0"))).unwrap().as_str(), "eth0");
}
