"""Checkpoints in safetensors: lazy reader, sharded writer."""
