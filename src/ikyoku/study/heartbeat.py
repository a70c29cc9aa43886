"""Signs of life of the processes that search together: who is there, and who is not any more."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ikyoku.study.storages import Storage

MISSED = 6
"""So many signs of life may be missed before a process is taken for dead."""
_KEY = "ikyoku:alive:"


class Heartbeat:
    """Counts up in the storage, and watches the counts of others.

    A process is dead when its count stays the same while this one counts `MISSED` times, so clocks need not agree, and
    while the storage is down nobody dies; or when it has said good-bye.

    Args:
        storage: where the study is.
        study: its number there.
        worker: this process's name.
        seconds: between two signs of life.
    """

    def __init__(self, storage: Storage, study: int, worker: str, seconds: float) -> None:
        self._storage, self._study, self._worker, self._seconds = storage, study, worker, seconds
        self._rounds = 0
        self._lock = threading.Lock()  # of what follows
        self._counts: dict[str, Any] = {}
        self._changed: dict[str, int] = {}  # the round in which a count was another than before
        self._ended = threading.Event()
        self._beat()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def dead(self, worker: str) -> bool:
        """Returns whether a process is taken for dead."""
        if worker == self._worker:
            return False
        with self._lock:
            if self._counts.get(worker, 0) is None:
                return True
            return self._rounds - self._changed.setdefault(worker, self._rounds) > MISSED

    def stop(self) -> None:
        """Says good-bye."""
        self._ended.set()
        self._thread.join()
        with suppress(Exception):  # the storage may be gone: then the others wait for the signs of life
            self._storage.optuna.set_study_system_attr(self._study, _KEY + self._worker, None)

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            with suppress(Exception):  # the storage may be back at the next
                self._beat()

    def _beat(self) -> None:
        self._storage.optuna.set_study_system_attr(self._study, _KEY + self._worker, self._rounds + 1)
        marks: Mapping[str, Any] = self._storage.optuna.get_study_system_attrs(self._study)
        with self._lock:
            self._rounds += 1
            for key, count in marks.items():
                worker = key.removeprefix(_KEY)
                if worker != key and self._counts.get(worker, -1) != count:
                    self._counts[worker], self._changed[worker] = count, self._rounds
