//! Ring 4: a whole mesh in network namespaces on one machine.
