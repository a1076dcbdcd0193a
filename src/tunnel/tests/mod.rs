//! Two ends and a wire between them under simulated time, and tests by subject.

mod crossing;
mod established;
mod flood;
mod forged;
mod lossy;
mod many;
mod peers;
mod timing;
mod world;

pub(super) use self::world::Dice;
