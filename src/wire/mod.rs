//! Ring 1: bytes to headers and back, one header a file.
