"""Licences of models, and what they ask of a merge."""
