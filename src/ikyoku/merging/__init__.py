"""Merging of models: arithmetic on tensors, no files."""
