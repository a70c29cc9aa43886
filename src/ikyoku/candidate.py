"""A candidate of a search, written in place into a live model."""
