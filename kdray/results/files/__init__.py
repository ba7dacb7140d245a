"""The bytes of the four tables: stores, reading, writing, merging and forgetting files."""
