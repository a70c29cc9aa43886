"""A recipe laid on the parents' checkpoints: which tensors make which, checked before any work."""
