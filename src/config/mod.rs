//! Ring 1: what operators write, to validated values; text in, values out.
