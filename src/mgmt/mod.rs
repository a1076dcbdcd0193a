//! Ring 2: sans-IO management.
