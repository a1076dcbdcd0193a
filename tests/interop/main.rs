//! Interop with other WireGuard implementations.

mod boringtun;
