"""The search as an Optuna study."""
