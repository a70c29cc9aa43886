"""What is searched: named bounded parameters."""
