//! Two ends and a wire between them under simulated time, and tests by subject.

mod crossing;
mod delayed;
mod edges;
mod established;
mod flood;
mod forged;
mod lossy;
mod many;
mod model;
mod peers;
mod replay;
mod rotation;
mod thief;
mod timing;
mod world;

pub(super) use self::world::Dice;
