//! Where nobody says which interface leads to the PDC, it is that of the default route. The table says where the nodes of the PDC are, so it is
//! told at once where that is another one: `meshctl status` can only say it when there are peers (M0647).

use std::net::IpAddr;
use std::path::Path;

use crate::linux::underlay;
use crate::node::plan::Underlay;
use crate::table::Slice;
use crate::types::{PdcId, Prefix};

/// What to say of the admin side of a node that has joined, as its table and this host are.
pub(super) fn note(admin: Option<IpAddr>, slice: &Slice, config: &Path) -> Option<String> {
    let inside = slice.pdcs.get(&slice.pdc).map(|pdc| pdc.underlay.as_slice()).unwrap_or_default();
    beside(admin, (&slice.pdc, inside), &underlay::addresses().unwrap_or_default(), config)
}

/// What to say of an admin side outside of the PDC's underlay; none: it is inside, or nothing here is, or the PDC says nothing of it.
fn beside(
    admin: Option<IpAddr>,
    (pdc, inside): (&PdcId, &[Prefix]),
    here: &[Underlay],
    config: &Path,
) -> Option<String> {
    let is_in = |address: IpAddr| inside.iter().any(|prefix| prefix.contains(address));
    let admin = admin.filter(|admin| !is_in(*admin))?;
    let better = here.iter().find(|one| is_in(one.address))?;
    let by = here.iter().find(|one| one.address == admin).map_or("the default route", |one| one.interface.as_str());
    Some(format!(
        "note: {admin} ({by}, as the default route) is outside of the underlay of PDC {pdc}, and {} ({}) is inside: if the nodes of the PDC are \
         there, write admin = \"{}\" under [underlay] of {}, then: systemctl restart meshd",
        better.address,
        better.interface,
        better.interface,
        config.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_inside_the_pdc_is_named_where_the_default_route_leads_outside() {
        let side = |name: &str, address: &str| Underlay {
            interface: name.parse().unwrap(),
            address: address.parse().unwrap(),
            mtu: 1500,
        };
        let here = [side("ext0", "198.18.1.1"), side("admin0", "10.1.0.5")];
        let (pdc, inside): (PdcId, [Prefix; 1]) = ("fra".parse().unwrap(), ["10.1.0.0/24".parse().unwrap()]);
        let told = |admin: &str, inside: &[Prefix], here: &[Underlay]| {
            beside(admin.parse().ok(), (&pdc, inside), here, Path::new("/etc/vxmesh/meshd.toml"))
        };
        let note = told("198.18.1.1", &inside, &here).unwrap();
        assert!(note.contains("198.18.1.1 (ext0") && note.contains("admin = \"admin0\" under [underlay]"), "{note}");
        assert_eq!(told("10.1.0.5", &inside, &here), None, "inside");
        assert_eq!(told("198.18.1.1", &[], &here), None, "the PDC says nothing");
        assert_eq!(told("198.18.1.1", &inside, &here[..1]), None, "nothing is better");
        assert_eq!(told("", &inside, &here), None);
    }
}
