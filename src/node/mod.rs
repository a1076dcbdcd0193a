//! Ring 2: sans-IO control plane of a node.
//!
//! [`enroll`] and [`sync`] get the slice, [`paths`] decides, [`plan`] says what the kernel should hold, [`reconcile`] says which
//! steps lead there, [`discover`] finds guests in what the kernel learned, [`explain`] tells the whole chain for one frame,
//! [`spans`] what is known of each path's size. No netlink here: `linux` does what this ring writes down.

pub mod announce;
pub mod attached;
pub mod barred;
pub mod barriers;
pub mod called;
pub mod causes;
pub mod checksums;
pub mod clockwatch;
mod compared;
pub mod concerns;
pub mod contest;
pub mod crossing;
pub mod desired;
pub mod detour;
pub mod discover;
pub mod doubts;
pub mod dropped;
pub mod end;
pub mod enroll;
pub mod explain;
mod explain_error;
pub mod explain_guests;
mod extensions;
mod facts;
pub mod fence;
pub mod fence_host;
mod fence_rates;
mod fence_rules;
pub mod fence_sizes;
pub mod fence_text;
mod filtered;
pub mod flooded;
mod growing;
pub mod guard;
mod guard_host;
mod guard_path;
mod guard_tags;
pub mod larger;
pub mod let_through;
pub mod losses;
pub mod losses_told;
mod marks;
pub mod may_hold;
pub mod named;
pub mod named_guests;
pub mod names;
pub mod older;
pub mod onlink;
pub mod op;
pub mod outer;
pub mod outside;
pub mod outways;
pub mod owners;
pub mod paths;
pub mod plainways;
pub mod plan;
pub mod plugs;
pub mod presence;
pub mod questions;
pub mod reconcile;
pub mod revoke;
mod rights;
pub mod rotation;
pub mod sets;
pub mod settled;
pub mod short;
pub mod shown;
pub mod silent;
pub mod singles;
pub mod skew;
pub mod spans;
pub mod strangers;
pub mod strays;
mod swapped;
pub mod sync;
mod target;
pub mod unwatched;
pub mod verdicts;
pub mod watch;
pub mod watch_told;
pub mod whole;
pub mod wrongs;

#[cfg(test)]
#[path = "golden_tests.rs"]
mod golden;

#[cfg(test)]
mod files_tests;
