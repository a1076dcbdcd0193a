//! What can go wrong between us and the kernel, and how it is told.

use std::collections::BTreeMap;
use std::io;

use super::failures::holds_up;
use super::unloaded::Unloaded;
use crate::api::problem::{Exit, Problem};
use crate::node::op::Op;
use crate::types::IfName;

/// Why the kernel could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The capability is missing.
    #[error("not allowed to change the network: CAP_NET_ADMIN is missing")]
    NotAllowed,
    /// There is no `nft`.
    #[error("the program 'nft' is not installed; without its packet filter no VXLAN device is made")]
    NoNft,
    /// `nft` refused, with its reason.
    #[error("nft refuses: {0}")]
    Nft(String),
    /// `nft` cannot be run, or has ended without doing its work and without a reason.
    #[error("{0}")]
    Mute(String),
    /// A packet filter of ours was not loaded.
    #[error("{}", .of.text(&.why.to_string()))]
    Filter {
        /// Which one, and what is in its place.
        of: Unloaded,
        /// Of running `nft`.
        why: Box<Self>,
    },
    /// The kernel has no VXLAN.
    #[error("the kernel has no VXLAN (module 'vxlan')")]
    NoVxlan,
    /// The kernel has no TUN/TAP.
    #[error("the kernel has no TAP devices: there is no /dev/net/tun")]
    NoTun,
    /// Somebody else listens on the UDP port.
    #[error("{name} does not come up: its UDP port is taken by another program")]
    PortTaken {
        /// Our vxlan device.
        name: IfName,
    },
    /// One step was refused.
    #[error("{op}: {why}")]
    Op {
        /// The step as a command.
        op: String,
        /// The kernel's words.
        why: String,
        /// The device that it is of, and whether the steps behind it on that device are left out; none: it is of no device.
        device: Option<(IfName, bool)>,
    },
    /// Several steps failed.
    #[error("{}", steps(.failed, *.skipped))]
    Steps {
        /// Each failure, at least one.
        failed: Vec<Self>,
        /// Steps on the same devices that were left out.
        skipped: usize,
    },
    /// The socket to the kernel failed.
    #[error("{what}: {why}")]
    Socket {
        /// What was done.
        what: &'static str,
        /// Why it failed.
        why: io::Error,
    },
}

fn steps(failed: &[KernelError], skipped: usize) -> String {
    let first = failed.first().map(ToString::to_string).unwrap_or_default();
    let left = if skipped > 0 { format!(" and {skipped} that need what failed were left out") } else { String::new() };
    match failed.len() {
        1 => format!("a step failed{left}: {first}"),
        count => format!("{count} steps failed{left}; the first: {first}"),
    }
}

impl KernelError {
    /// For `map_err`.
    pub(super) fn socket(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |why| if why.raw_os_error() == Some(libc::EPERM) { Self::NotAllowed } else { Self::Socket { what, why } }
    }

    /// A step that was refused, and why.
    pub(crate) fn op(op: &Op, why: impl Into<String>) -> Self {
        let device = op.device().map(|device| (device.clone(), holds_up(op)));
        Self::Op { op: op.to_string(), why: why.into(), device }
    }

    /// The devices on which something was not done, and whether each was left altogether; none where it may be anything.
    pub fn devices(&self) -> Option<BTreeMap<&IfName, bool>> {
        match self {
            Self::PortTaken { name } => Some([(name, true)].into()),
            Self::Op { device, .. } => device.as_ref().map(|(name, whole)| [(name, *whole)].into()),
            Self::Steps { failed, .. } => {
                let mut all = BTreeMap::new();
                for (name, whole) in failed.iter().map(Self::devices).collect::<Option<Vec<_>>>()?.into_iter().flatten()
                {
                    *all.entry(name).or_default() |= whole;
                }
                Some(all)
            }
            Self::NotAllowed
            | Self::NoNft
            | Self::Nft(_)
            | Self::Mute(_)
            | Self::Filter { .. }
            | Self::NoVxlan
            | Self::NoTun
            | Self::Socket { .. } => None,
        }
    }

    /// Code of its [`Problem`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAllowed => "M0620",
            Self::NoNft => "M0621",
            Self::Nft(_) | Self::Mute(_) => "M0622",
            Self::Filter { why, .. } => why.code(),
            Self::NoVxlan => "M0623",
            Self::NoTun => "M0624",
            _ if self.is_taken() => "M0625",
            Self::PortTaken { .. } | Self::Op { .. } | Self::Steps { .. } => "M0626",
            Self::Socket { .. } => "M0627",
        }
    }

    /// Another program has the UDP port, and nothing else is wrong.
    fn is_taken(&self) -> bool {
        match self {
            Self::PortTaken { .. } => true,
            Self::Steps { failed, .. } => failed.iter().all(Self::is_taken),
            Self::NotAllowed
            | Self::NoNft
            | Self::Nft(_)
            | Self::Mute(_)
            | Self::Filter { .. }
            | Self::NoVxlan
            | Self::NoTun
            | Self::Op { .. }
            | Self::Socket { .. } => false,
        }
    }

    /// The next command.
    fn help(&self) -> String {
        let Self::Filter { of, why } = self else { return self.plain_help().to_owned() };
        let spoke = matches!(why.as_ref(), Self::Nft(_));
        if spoke || matches!(why.as_ref(), Self::Mute(_)) { of.help(spoke) } else { why.plain_help().to_owned() }
    }

    fn plain_help(&self) -> &'static str {
        match self {
            Self::NotAllowed => "run meshd as root, or with AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW",
            Self::NoNft => "apt install nftables",
            Self::Nft(_) | Self::Mute(_) | Self::Filter { .. } => "nft list ruleset; nft --version",
            Self::NoVxlan => "modprobe vxlan, or install the kernel's extra modules",
            Self::NoTun => "modprobe tun; in a container: pass /dev/net/tun in",
            _ if self.is_taken() => {
                "ss -ulnp shows who has it; it has to go, or on the management node: meshctl overlay set NAME --udp-port PORT; our packet filter lets no peer's frame in to it meanwhile"
            }
            Self::PortTaken { .. } | Self::Op { .. } | Self::Steps { .. } => {
                "ip -d link show; what is in the way there has to go, then the next pass does it: meshctl status shows what is left"
            }
            Self::Socket { .. } => "the next pass tries again",
        }
    }
}

impl From<&KernelError> for Problem {
    fn from(error: &KernelError) -> Self {
        let cause = if let KernelError::Filter { why, .. } = error { why } else { error };
        let exit = if matches!(cause, KernelError::NotAllowed) { Exit::Denied } else { Exit::Failed };
        let problem = Self::new(error.code(), exit, error.to_string()).help(error.help());
        match error {
            KernelError::Steps { failed, .. } => {
                failed.iter().skip(1).take(9).fold(problem, |problem, one| problem.note(one.to_string()))
            }
            KernelError::NoNft
            | KernelError::NotAllowed
            | KernelError::Nft(_)
            | KernelError::Mute(_)
            | KernelError::Filter { .. } => problem.note("nothing was changed"),
            KernelError::NoVxlan
            | KernelError::NoTun
            | KernelError::PortTaken { .. }
            | KernelError::Op { .. }
            | KernelError::Socket { .. } => problem,
        }
    }
}
