"""What a study was begun with, kept in its storage: whoever continues or joins it has to ask for the same."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from ikyoku.errors import RunError
from ikyoku.study.storages import Storage

_KEY = "ikyoku"
_TOLD = {"fingerprint": "things that the fitness depends on (spec, questions or weights)"}


def check_settings(storage: Storage, study: Any, settings: Mapping[str, Any]) -> None:
    """Writes a new study's settings, or compares those of an old one.

    Args:
        storage: where it is.
        study: Optuna's.
        settings: all that must be the same whenever, and wherever, the study is opened; plain values.

    Raises:
        RunError: they differ.
    """
    import optuna

    begun = bool(study.trials)  # looked at first: who begins a trial has written the settings before
    kept = study.user_attrs.get(_KEY)
    if kept is None and not begun:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(settings["metrics"]))
        study.set_user_attr(_KEY, dict(settings))
        return
    changed = [key for key in settings if not isinstance(kept, dict) or kept.get(key) != settings[key]]
    if changed:
        told = ", ".join(_TOLD.get(key, key) for key in changed)
        raise RunError(
            f"{storage.shown}: the study {study.study_name} there is another one, with other {told}. "
            "Give this one another name or another storage, or the settings of that one."
        )
