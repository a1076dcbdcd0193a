//! Interop with other WireGuard implementations.
