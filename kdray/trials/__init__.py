"""One trial, from its description to its rows."""
