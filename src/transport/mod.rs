//! Ring 3: HTTP over TLS and Unix sockets. [`tls`] says whom to believe, [`client`] asks, [`server`] is asked. Nothing here knows what is asked.

mod answers;
pub mod client;
pub mod server;
pub mod tls;
