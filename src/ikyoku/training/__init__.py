"""What a model is trained on: the arithmetic of masks and batches."""
