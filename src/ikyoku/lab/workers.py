"""Models in the making: child processes that say how far they are."""

from __future__ import annotations

import fcntl
import math
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

Progress = Callable[[str, int, int], None]
"""Called with a model's name, the steps done and the steps in all."""


class Worker:
    """One model in the making: a child process that prints `step steps` lines."""

    def __init__(self, name: str, command: Sequence[str], progress: Progress | None) -> None:
        """Starts the process.

        Args:
            name: of the model, for the progress.
            command: a module of ours and its arguments.
            progress: called with the steps done.
        """
        self.name = name
        self.process = subprocess.Popen(  # noqa: S603 our own module
            [sys.executable, "-m", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.errors: list[str] = []
        self.reader = threading.Thread(target=self._read, args=(progress,), daemon=True)
        self.complaints = threading.Thread(target=self._listen, daemon=True)
        self.reader.start()
        self.complaints.start()

    def _read(self, progress: Progress | None) -> None:
        for line in self.process.stdout or ():
            done, _, total = line.strip().partition(" ")
            if progress and done.isdigit() and total.isdigit():
                progress(self.name, int(done), int(total))

    def _listen(self) -> None:
        self.errors.extend(self.process.stderr or ())

    def wait(self) -> None:
        """Waits for its end.

        Raises:
            RuntimeError: it failed; with the end of what it complained about.
        """
        code = self.process.wait()
        self.reader.join()
        self.complaints.join()
        if code:
            tail = "".join(self.errors[-15:]).strip()
            raise RuntimeError(f"making {self.name} ended with exit code {code}:\n{tail}")

    def stop(self) -> None:
        """Ends it, where it still runs."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self.reader.join()
        self.complaints.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()


@contextmanager
def written_in_one_step(folder: Path) -> Iterator[Path | None]:
    """Yields where to make a folder that appears under its name when it is whole; None where it has appeared by then.

    One process at a time works there; what an interrupted one left is still in it.
    """
    aside = folder.with_name(f".{folder.name}.part")
    aside.mkdir(parents=True, exist_ok=True)
    with (aside / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():  # made while this process waited
            shutil.rmtree(aside, ignore_errors=True)
            yield None
            return
        yield aside
        aside.rename(folder)
        (folder / ".lock").unlink()


def made_together(workers: Sequence[Worker]) -> None:
    """Waits for models in the making, and stops them all when one fails or this process is interrupted."""
    try:
        for worker in workers:
            worker.wait()
    finally:
        for worker in workers:
            worker.stop()


def reported(make: Callable[[Callable[[int, int], None]], None]) -> None:
    """Calls a maker with a progress that a `Worker` reads: a line of output every half second."""
    import time

    last = -math.inf

    def say(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > 0.5:
            last = time.monotonic()
            print(done, total, flush=True)  # noqa: T201 read by the parent process

    make(say)
