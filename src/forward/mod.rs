//! Ring 2: the data plane without I/O. Frames, a table and the time go in; frames to send and drop counts come out.
//!
//! [`Table`] is an immutable snapshot, [`Slots`] names its indices. Every exit is forwarding or a [`DropReason`].

mod drops;
mod map;
mod rate;
mod slots;
mod table;

pub use self::drops::{DropReason, Drops};
pub use self::rate::{Bucket, Rate};
pub use self::slots::{Slots, SlotsFull};
pub use self::table::{Form, Neighbour, Net, Place, Station, Table};
