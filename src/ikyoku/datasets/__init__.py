"""Things that yield samples."""
