//! Files for tests: the example of the form, and any file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::{Entry, File, Mode, read};
use crate::config::Source;
use crate::types::{Mac, UdpPort};

/// The form of the manual, own values.
pub(crate) const EXAMPLE: &str = r#"{
    "02:08:20:0a:00:07": {
        "arp": "10.55.55.2",
        "ip": "10.88.88.69",
        "ndp": "fe80::8:20ff:fe0a:7",
        "port": 4789
    },
    "02:08:20:0a:00:08": {
        "arp": "10.55.55.3",
        "dhcp-proxy": "02:08:20:0a:00:07",
        "ip": "10.88.88.70",
        "ndp": "fe80::8:20ff:fe0a:8",
        "port": 4789
    },
    "02:08:20:0a:00:09": {
        "ip": "2001:db8:1::70",
        "port": 4790
    }
}
"#;

/// Read in strict mode.
pub(crate) fn strict(text: &str) -> File {
    read(Source::new("f", text), Mode::Strict).unwrap_or_else(|e| panic!("{e}")).file
}

pub(crate) fn any_mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(|mut b| {
        b[0] = b[0] & 0xfe | 2;
        Mac(b)
    })
}

prop_compose! {
    pub(crate) fn any_entry()(
        ip in prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u16; 8]>().prop_map(IpAddr::from)],
        port in 1_u64..=65_535,
        arp in proptest::option::of(any::<[u8; 4]>()),
        ndp in proptest::option::of(any::<[u16; 8]>()),
        dhcp_proxy in proptest::option::of(any_mac()),
    ) -> Entry {
        let port = UdpPort::try_from(port).ok();
        Entry { ip: ip.to_canonical(), port, arp: arp.map(Ipv4Addr::from), ndp: ndp.map(Ipv6Addr::from), dhcp_proxy }
    }
}

pub(crate) fn any_file() -> impl Strategy<Value = File> {
    proptest::collection::btree_map(any_mac(), any_entry(), 0..20).prop_map(|entries| File { entries })
}
