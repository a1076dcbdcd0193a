//! Ring 3: revisions, compare-and-set, watch.
