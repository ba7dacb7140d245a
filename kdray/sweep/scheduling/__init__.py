"""What is run next, and what became of it; without ray."""
