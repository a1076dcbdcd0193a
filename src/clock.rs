//! The only reader of clocks and of the operating system's randomness. Everything else is given their values.

use crate::types::{Mono, Wall};

/// Monotonic time now (`CLOCK_BOOTTIME`: goes on while the machine sleeps, as session lifetimes must).
pub fn mono() -> Mono {
    Mono::from_nanos(crate::linux::sys::boottime_nanos())
}

/// Wall-clock time now.
pub fn wall() -> Wall {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Wall::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// `N` random bytes from the operating system.
///
/// # Panics
/// If the operating system has no randomness to give: no key may be made then.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill_random(&mut bytes);
    bytes
}

/// Random bytes from the operating system into all of `bytes`.
///
/// # Panics
/// If the operating system has no randomness to give: no key may be made then.
#[expect(clippy::expect_used, reason = "going on without randomness would make guessable keys")]
pub fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives randomness");
}
