//! Ring 2: the sans-IO data plane.
