//! Ring 2: the data plane without I/O. Frames, a table and the time go in; frames to send and drop counts come out.
//!
//! [`Table`] is an immutable snapshot, [`Slots`] names its indices. Every exit is forwarding or a [`DropReason`].

mod buffer;
mod carry;
mod claims;
pub mod coalesce;
mod dhcp;
mod drops;
mod echo;
mod egress;
mod fair;
mod form;
mod fragment;
mod groups;
mod ingress;
mod layout;
mod map;
mod mss;
mod neigh;
mod oversize;
mod paths;
mod ranges;
mod rate;
mod reassemble;
mod recent;
mod refused;
pub mod segment;
mod slots;
mod spread;
mod table;
mod tally;
mod toobig;
pub mod train;
mod view;

pub use self::buffer::{Buf, CAPACITY, Pool};
pub use self::drops::{DropReason, Drops};
pub use self::echo::{Echo, Said, echo, probe};
pub use self::egress::{Cuts, Egress, EgressOut, Frame, Handed};
pub use self::fair::{Fair, PLACES};
pub use self::ingress::{Arrived, Delivery, Ingress, IngressOut, Payload};
pub use self::paths::PathSizes;
pub use self::rate::{Bucket, Rate};
pub use self::refused::Refused;
pub use self::slots::{Slots, SlotsFull};
pub use self::spread::{Board, MAX_LANES, Spread};
pub use self::table::{Form, Neighbour, Net, Place, Rights, Sizing, Station, Table};
pub use self::tally::{Flooder, Lost, Tallies, Tally};
pub use self::train::Outgoing;

#[cfg(test)]
mod sample_tests;
#[cfg(test)]
mod tests;
