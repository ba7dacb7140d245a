"""What the scripts of the papers whose figures take more than a page are made of, a folder each."""
