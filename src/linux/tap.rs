//! TAP devices: persistent and multi-queue, each frame behind a virtio header of [`HEADER`] bytes.
//!
//! The control plane creates them, lanes attach to them by name. `TUNSETIFF` creates what it does not find, so attaching
//! checks that it has found something.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use super::sys;
use crate::types::IfName;
use crate::wire::Header;
use crate::wire::virtio::Virtio;

/// Size of the virtio header: the legacy `struct virtio_net_hdr` in native byte order (linux/virtio_net.h).
pub const HEADER: usize = Virtio::LEN;

/// Where TAPs come from.
pub const DEVICE: &str = "/dev/net/tun";
/// `TUNSETPERSIST` (linux/if_tun.h): whether the device outlives its queues.
const SET_PERSIST: libc::Ioctl = libc::TUNSETPERSIST as libc::Ioctl;
/// `TUNSETOWNER`, the number behind it: the one user beside those with `CAP_NET_ADMIN` who may open a queue. It outlives the queue.
const SET_OWNER: libc::Ioctl = SET_PERSIST + 1;
/// `TUNSETOFFLOAD`: which work the reader of the device takes over (`TUN_F_*`). Device-wide; outlives the queue.
const SET_OFFLOAD: libc::Ioctl = libc::TUNSETOFFLOAD as libc::Ioctl;
/// `IFF_PERSIST` (linux/if_tun.h), reported by `TUNGETIFF`.
const PERSIST: i32 = 0x0800;
/// Ethernet frames, no packet information, virtio header, several queues.
const FLAGS: i32 = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;

/// One queue of a TAP.
#[derive(Debug)]
pub struct Tap {
    file: File,
    offloads: Offloads,
}

/// Which work of a guest's kernel the reader of a TAP takes over (`TUN_F_*`, linux/if_tun.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offloads {
    /// None: every frame comes as one packet with its checksums made.
    None,
    /// Checksums.
    Checksum,
    /// Checksums, and cutting TCP.
    Tcp,
    /// Checksums, and cutting TCP and UDP (Linux 6.2).
    TcpUdp,
}

impl Offloads {
    /// The best first: what a kernel is asked in turn.
    const ALL: [Self; 4] = [Self::TcpUdp, Self::Tcp, Self::Checksum, Self::None];

    const fn mask(self) -> u32 {
        const CSUM: u32 = 0x01;
        const TSO: u32 = 0x02 | 0x04;
        const USO: u32 = 0x20 | 0x40;
        match self {
            Self::None => 0,
            Self::Checksum => CSUM,
            Self::Tcp => CSUM | TSO,
            Self::TcpUdp => CSUM | TSO | USO,
        }
    }
}

/// Why a TAP cannot be used, and what to look at.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// There is no `/dev/net/tun`.
    #[error("there is no {DEVICE}: load the kernel's module with `modprobe tun`; in a container, pass the device in")]
    NoDevice,
    /// `CAP_NET_ADMIN` is missing, or the device belongs to another user.
    #[error("TAP {0}: not permitted; meshd needs CAP_NET_ADMIN, and access to {DEVICE}")]
    Denied(IfName),
    /// Somebody else is attached, or all queues are taken.
    #[error("TAP {0} is in use by another process; `ip -d tuntap show` names it")]
    Busy(IfName),
    /// There is an interface of that name, but not a multi-queue TAP.
    #[error("interface {0} is not a multi-queue TAP, so it is not ours; `ip -d link show {0}` tells what it is")]
    Foreign(IfName),
    /// There is no such interface.
    #[error("there is no TAP {0} yet")]
    Missing(IfName),
    /// Something else.
    #[error("TAP {name}: {step}: {source}")]
    System {
        /// Which.
        name: IfName,
        /// What was tried.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Tap {
    /// Attaches a queue, non-blocking, to an existing persistent TAP, with the best offloads that the kernel has, up to `most`.
    /// Offloads and header size are device-wide and survive whoever was attached before, so they are set every time.
    ///
    /// # Errors
    /// [`TapError`]; [`TapError::Missing`] where the device does not exist, and then it does not exist afterwards either.
    pub fn attach(name: &IfName, most: Offloads) -> Result<Self, TapError> {
        let mut tap = Self::open(name)?;
        if !tap.is_persistent(name)? {
            return Err(TapError::Missing(name.clone()));
        }
        let size = i32::try_from(HEADER).unwrap_or_default();
        sys::tun_set_header_size(tap.as_fd(), size).map_err(|source| system(name, "TUNSETVNETHDRSZ", source))?;
        tap.offloads = tap.offload(most).map_err(|source| system(name, "TUNSETOFFLOAD", source))?;
        Ok(tap)
    }

    /// Asks for less and less until the kernel agrees.
    fn offload(&self, most: Offloads) -> io::Result<Offloads> {
        let mut refused = io::Error::from(io::ErrorKind::Unsupported);
        for offloads in Offloads::ALL.into_iter().filter(|offloads| *offloads <= most) {
            match sys::tun_set(self.as_fd(), SET_OFFLOAD, offloads.mask()) {
                Ok(()) => return Ok(offloads),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// What the kernel has agreed to.
    pub const fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn open(name: &IfName) -> Result<Self, TapError> {
        let opened =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(DEVICE);
        let file = opened.map_err(|source| match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TapError::NoDevice,
            Some(libc::EPERM | libc::EACCES) => TapError::Denied(name.clone()),
            _ => system(name, "open", source),
        })?;
        let flags = i16::try_from(FLAGS).unwrap_or_default();
        sys::tun_set_iff(file.as_fd(), name, flags).map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => TapError::Denied(name.clone()),
            Some(libc::EBUSY | libc::E2BIG) => TapError::Busy(name.clone()),
            Some(libc::EINVAL) => TapError::Foreign(name.clone()),
            _ => system(name, "TUNSETIFF", source),
        })?;
        Ok(Self { file, offloads: Offloads::None })
    }

    fn is_persistent(&self, name: &IfName) -> Result<bool, TapError> {
        let flags = sys::tun_flags(self.file.as_fd()).map_err(|source| system(name, "TUNGETIFF", source))?;
        Ok(i32::from(flags) & PERSIST != 0)
    }

    /// Reads one frame into `frame`; returns its length and its header, which is none for a kind of super-frame that nobody
    /// asked for. None: there is nothing to read now.
    ///
    /// # Errors
    /// Of `readv(2)`: the device is gone (`EBADFD`, `EIO`).
    pub fn read(&self, frame: &mut [u8]) -> io::Result<Option<(usize, Option<Virtio>)>> {
        let mut header = [0; HEADER];
        let got = loop {
            match (&self.file).read_vectored(&mut [IoSliceMut::new(&mut header), IoSliceMut::new(frame)]) {
                Ok(got) => break got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        Ok(Some((got.saturating_sub(HEADER), Virtio::parse(&header).ok())))
    }

    /// Writes one frame or super-frame that stands behind its virtio header.
    ///
    /// # Errors
    /// As [`Tap::write`]; `InvalidInput` for a super-frame that this kernel does not take.
    pub fn write_headed(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match (&self.file).write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(drop),
            }
        }
    }

    /// Writes one plain frame.
    ///
    /// # Errors
    /// Of `writev(2)`: `WouldBlock` where its buffer is full, `EIO` where the device is down.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            match (&self.file).write_vectored(&[IoSlice::new(&[0; HEADER]), IoSlice::new(frame)]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(drop),
            }
        }
    }
}

/// A TAP of our own that is never up and that nobody keeps: the kernel takes it away with this value.
#[derive(Debug)]
pub struct Probe(Tap);

impl Probe {
    /// Makes one, under a name that no other process has.
    ///
    /// # Errors
    /// [`TapError`].
    pub fn make() -> Result<Self, TapError> {
        let name = format!("vxprobe{}", std::process::id());
        let Ok(name) = name.parse::<IfName>() else { unreachable!("{name} is a name") };
        let tap = Tap::open(&name)?;
        let size = i32::try_from(HEADER).unwrap_or_default();
        sys::tun_set_header_size(tap.as_fd(), size).map_err(|source| system(&name, "TUNSETVNETHDRSZ", source))?;
        Ok(Self(tap))
    }

    /// Whether it takes what stands behind its virtio header; none where that cannot be told. A kernel that takes it says next
    /// that the device is down (`EIO`); one that does not says so first (`EINVAL`).
    pub fn takes(&self, bytes: &[u8]) -> Option<bool> {
        match self.0.write_headed(bytes) {
            Ok(()) => Some(true),
            Err(error) => match error.raw_os_error() {
                Some(libc::EIO) => Some(true),
                Some(libc::EINVAL) => Some(false),
                Some(_) | None => None,
            },
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Makes a persistent multi-queue TAP of this user. One that exists already is left as it is, but for that. Of a persistent TAP that is nobody's
/// any user may open a queue (`tun_not_capable`, drivers/net/tun.c): who may read it reads what guests send, and who writes to it is any guest.
///
/// # Errors
/// [`TapError`]; nothing was made then.
pub fn create_persistent(name: &IfName) -> Result<(), TapError> {
    let tap = Tap::open(name)?;
    let user = sys::effective_user();
    sys::tun_set(tap.as_fd(), SET_OWNER, user).map_err(|source| system(name, "TUNSETOWNER", source))?;
    sys::tun_set(tap.as_fd(), SET_PERSIST, 1).map_err(|source| system(name, "TUNSETPERSIST", source))
}

/// Removes a TAP: at once, or when the last lane lets go of it. One that does not exist is no error.
///
/// # Errors
/// [`TapError`].
pub fn remove(name: &IfName) -> Result<(), TapError> {
    let tap = Tap::open(name)?;
    sys::tun_set(tap.as_fd(), SET_PERSIST, 0).map_err(|source| system(name, "TUNSETPERSIST", source))
}

fn system(name: &IfName, step: &'static str, source: io::Error) -> TapError {
    TapError::System { name: name.clone(), step, source }
}
