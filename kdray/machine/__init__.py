"""The machine that a trial runs on: its hardware, what its processes share, and files that are
checked when they are read."""
