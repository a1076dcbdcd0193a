//! Ring 3: HTTP over TLS and Unix sockets.
