//! Capabilities: what the daemon needs, and nothing more. `CAP_NET_ADMIN` changes devices and tables; `CAP_NET_RAW` is kept for probes of the underlay.

use std::fs;
use std::io;

use super::error::KernelError;
use super::sys;

/// Numbers of linux/capability.h.
const NET_ADMIN: u8 = 12;
const NET_RAW: u8 = 13;
/// Being root gives no capability, a change of user keeps none, and neither can be undone.
const SECURE: i32 = libc::SECBIT_NOROOT | libc::SECBIT_NOROOT_LOCKED | libc::SECBIT_KEEP_CAPS_LOCKED;
/// What is kept.
const NEEDED: u64 = 1 << NET_ADMIN | 1 << NET_RAW;

/// Refuses to go on without `CAP_NET_ADMIN`.
///
/// # Errors
/// [`KernelError::NotAllowed`].
pub fn check() -> Result<(), KernelError> {
    let effective = effective().map_err(KernelError::socket("reading /proc/thread-self/status"))?;
    if effective >> NET_ADMIN & 1 == 1 { Ok(()) } else { Err(KernelError::NotAllowed) }
}

/// Gives up everything but `CAP_NET_ADMIN` and `CAP_NET_RAW`, for good. Programs that are started (`nft`) keep those two. Call it
/// before any thread is started: each thread has capabilities of its own and inherits its parent's.
///
/// # Errors
/// The kernel refused; what was given up until then stays given up.
pub fn drop_others() -> io::Result<()> {
    let kept = effective()? & NEEDED;
    // What no capability can be gained beyond again, not even by starting a program as root.
    for number in (0..64).take_while(|n| sys::capability_is_known(*n)) {
        if kept >> number & 1 == 0 {
            match sys::capability_unbound(number) {
                // Without CAP_SETPCAP the set is what the service manager made it.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
                other => other?,
            }
        }
    }
    // User 0 is a user like others from now on: programs that it starts get the ambient capabilities, not all.
    match sys::secure_bits(SECURE) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
        other => other?,
    }
    sys::capabilities_set(kept)?;
    sys::ambient_clear()?;
    for number in [NET_ADMIN, NET_RAW].into_iter().filter(|n| kept >> n & 1 == 1) {
        sys::ambient_raise(number)?;
    }
    Ok(())
}

/// Effective capabilities of the calling thread.
fn effective() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
    u64::from_str_radix(set.trim(), 16).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}
