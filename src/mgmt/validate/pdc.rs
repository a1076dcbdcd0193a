//! Rules about PDCs: the routers inside.

use super::refuse;
use crate::api::objects::Pdc;
use crate::api::problem::Problem;

/// Routers of one PDC, at most: each makes the packet filter's sets of all its nodes longer.
const ROUTERS_MAX: usize = 16;

/// Routers are named only where there may be some, and each can be the next hop of somebody.
pub(super) fn check_routers(pdc: &Pdc) -> Result<(), Problem> {
    let (name, spec) = (&pdc.metadata.name, &pdc.spec);
    if spec.max_hops == 0 && !spec.routers.is_empty() {
        let what = format!("PDC '{name}' names routers and says that it has none (maxHops 0)");
        return Err(
            refuse("M0370", what).help(format!("meshctl pdc set {name} --max-hops 1, or leave the routers out"))
        );
    }
    if spec.routers.len() > ROUTERS_MAX {
        return Err(refuse("M0327", format!("PDC '{name}' names more than {ROUTERS_MAX} routers")));
    }
    let odd =
        spec.routers.iter().find(|router| router.is_unspecified() || router.is_multicast() || router.is_loopback());
    match odd {
        Some(router) => Err(refuse("M0371", format!("PDC '{name}': {router} is no address of a router"))),
        None => Ok(()),
    }
}
