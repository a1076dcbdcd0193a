//! Ring 3: the kernel as two verbs, observe and apply. Holds no policy. `sys` is the only `unsafe`.

mod addresses;
mod calls;
pub mod caps;
pub mod confine;
mod counters;
mod error;
pub mod fake;
mod fdb;
pub mod file;
mod filter;
mod gso;
pub mod host;
pub mod inbox;
pub mod inotify;
pub mod journal;
mod keeper;
mod kernel;
mod netlink;
pub mod netns;
mod nft;
mod observe;
pub mod offload;
pub mod poll;
mod print;
mod request;
pub mod sys;
mod sysctl;
pub mod tap;
pub mod terminal;
pub mod udp;
pub mod underlay;
mod watch;

pub use self::error::KernelError;
pub use self::kernel::Kernel;
pub use self::observe::read as read_netlink;
pub use self::watch::Watch;
