"""The sweep file: what it may say, the space that it spans, and the trials that follow from it."""
