"""mergekit's YAML, read, written and understood."""
