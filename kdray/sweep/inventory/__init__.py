"""What the results hold of a sweep, hence what is left to do."""
