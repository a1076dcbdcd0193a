//! Ring 2: the data plane without I/O. Frames, a table and the time go in; frames to send and drop counts come out.
//!
//! [`Table`] is an immutable snapshot, [`Slots`] names its indices. Every exit is forwarding or a [`DropReason`].

mod buffer;
pub mod coalesce;
mod drops;
mod echo;
mod egress;
mod form;
mod ingress;
mod layout;
mod map;
mod neigh;
mod paths;
mod rate;
mod refused;
pub mod segment;
mod slots;
mod spread;
mod table;
pub mod train;
mod view;

pub use self::buffer::{Buf, CAPACITY, Pool};
pub use self::drops::{DropReason, Drops};
pub use self::echo::{Echo, echo, probe};
pub use self::egress::{Cuts, Egress, EgressOut, Frame, Handed};
pub use self::ingress::{Delivery, Ingress, IngressOut, Payload};
pub use self::paths::PathSizes;
pub use self::rate::{Bucket, Rate};
pub use self::refused::Refused;
pub use self::slots::{Slots, SlotsFull};
pub use self::spread::{Board, MAX_LANES, Spread};
pub use self::table::{Form, Neighbour, Net, Place, Station, Table};
pub use self::train::Outgoing;

#[cfg(test)]
mod sample_tests;
#[cfg(test)]
mod tests;
