"""The scripts that made the numbers run in mergekit's own environment: no tests, nothing to collect."""

collect_ignore = ["mergekit_numbers.py", "mergekit_settings.py"]
