"""Points of a sweep: a row per replicate, and what is computed from these rows."""
