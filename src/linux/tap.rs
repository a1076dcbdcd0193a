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

/// Size of the virtio header: the legacy `struct virtio_net_hdr` in native byte order (linux/virtio_net.h).
pub const HEADER: usize = 10;

/// Where TAPs come from.
const DEVICE: &str = "/dev/net/tun";
/// `IFF_PERSIST` (linux/if_tun.h), reported by `TUNGETIFF`.
const PERSIST: i32 = 0x0800;
/// Ethernet frames, no packet information, virtio header, several queues.
const FLAGS: i32 = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;

/// One queue of a TAP.
#[derive(Debug)]
pub struct Tap {
    file: File,
}

/// The virtio header of a frame, as far as it matters without offloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// `VIRTIO_NET_HDR_F_*`: 1 says that the checksum is still to be made.
    pub flags: u8,
    /// `VIRTIO_NET_HDR_GSO_*`: 0 says that it is one frame.
    pub gso_type: u8,
}

impl FrameHeader {
    /// True for one whole frame with nothing left to do.
    pub fn is_plain(self) -> bool {
        self.flags & 1 == 0 && self.gso_type == 0
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
    /// Attaches a queue, non-blocking, to an existing persistent TAP; resets the offload mask and the header size, which are
    /// device-wide and survive whoever was attached before.
    ///
    /// # Errors
    /// [`TapError`]; [`TapError::Missing`] where the device does not exist, and then it does not exist afterwards either.
    pub fn attach(name: &IfName) -> Result<Self, TapError> {
        let tap = Self::open(name)?;
        if tap.is_persistent(name)? { Ok(tap) } else { Err(TapError::Missing(name.clone())) }
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
        let size = i32::try_from(HEADER).unwrap_or_default();
        sys::tun_set_header_size(file.as_fd(), size).map_err(|source| system(name, "TUNSETVNETHDRSZ", source))?;
        sys::tun_set_offload(file.as_fd(), 0).map_err(|source| system(name, "TUNSETOFFLOAD", source))?;
        Ok(Self { file })
    }

    fn is_persistent(&self, name: &IfName) -> Result<bool, TapError> {
        let flags = sys::tun_flags(self.file.as_fd()).map_err(|source| system(name, "TUNGETIFF", source))?;
        Ok(i32::from(flags) & PERSIST != 0)
    }

    /// Reads one frame into `frame`; returns its length and its header. None: there is nothing to read now.
    ///
    /// # Errors
    /// Of `readv(2)`: the device is gone (`EBADFD`, `EIO`).
    pub fn read(&self, frame: &mut [u8]) -> io::Result<Option<(usize, FrameHeader)>> {
        let mut header = [0; HEADER];
        let got = loop {
            match (&self.file).read_vectored(&mut [IoSliceMut::new(&mut header), IoSliceMut::new(frame)]) {
                Ok(got) => break got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let [flags, gso_type, ..] = header;
        Ok(Some((got.saturating_sub(HEADER), FrameHeader { flags, gso_type })))
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

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Makes a persistent multi-queue TAP. One that exists already is left as it is.
///
/// # Errors
/// [`TapError`]; nothing was made then.
pub fn create_persistent(name: &IfName) -> Result<(), TapError> {
    let tap = Tap::open(name)?;
    sys::tun_set_persist(tap.as_fd(), true).map_err(|source| system(name, "TUNSETPERSIST", source))
}

/// Removes a TAP: at once, or when the last lane lets go of it. One that does not exist is no error.
///
/// # Errors
/// [`TapError`].
pub fn remove(name: &IfName) -> Result<(), TapError> {
    let tap = Tap::open(name)?;
    sys::tun_set_persist(tap.as_fd(), false).map_err(|source| system(name, "TUNSETPERSIST", source))
}

fn system(name: &IfName, step: &'static str, source: io::Error) -> TapError {
    TapError::System { name: name.clone(), step, source }
}
