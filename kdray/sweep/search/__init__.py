"""Which points are tried next. The only home of optuna, but for the importance of parameters."""
