//! Ring 2: sans-IO WireGuard. The only module that touches an AEAD.
