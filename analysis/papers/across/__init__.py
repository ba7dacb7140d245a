"""What robustness costs, across the sweeps of all papers."""
