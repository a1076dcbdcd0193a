//! Ring 4: shell of the management server.
