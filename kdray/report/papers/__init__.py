"""What the papers' scripts stand on: published numbers beside ours, tables, a snapshot
of results."""
