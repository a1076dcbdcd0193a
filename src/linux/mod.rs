//! Ring 3: the kernel as two verbs, observe and apply. Holds no policy. `sys` is the only `unsafe`.

pub mod file;
pub mod netns;
pub mod poll;
pub mod sys;
pub mod tap;
pub mod udp;
