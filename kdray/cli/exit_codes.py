"""Exit statuses of ``kdray``."""

OK, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
