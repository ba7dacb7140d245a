"""What kdray does on a real GPU, in ten minutes and one table: ``make gpu``."""
