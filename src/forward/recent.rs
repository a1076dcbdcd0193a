//! The two guests of the frame before: most frames of a batch are between the same ones, and to compare costs less than to look up.

use super::table::{Net, Station};
use crate::types::{Mac, NetSlot, Vlan};

/// Which of the two.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// Whose source address it is.
    From = 0,
    /// Whose destination address it is.
    To = 1,
}

/// What was looked up last, for each end.
#[derive(Debug, Default)]
pub(super) struct Recent([Option<(Key, Station)>; 2]);

type Key = (NetSlot, Option<Vlan>, Mac);

impl Recent {
    /// Forgets both: the table may be another one. Each batch begins with it.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The guest with an address ([`Net::station`]) in the network of this slot.
    #[inline]
    pub(super) fn station(
        &mut self,
        end: End,
        (slot, net): (NetSlot, &Net),
        vlan: Option<Vlan>,
        mac: Mac,
    ) -> Option<Station> {
        let (key, recent) = ((slot, vlan, mac), &mut self.0[end as usize]);
        match recent {
            Some((before, station)) if *before == key => Some(*station),
            _ => {
                let station = net.station(vlan, mac)?;
                *recent = Some((key, station));
                Some(station)
            }
        }
    }
}
