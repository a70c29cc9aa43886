"""Everything ikyoku raises on purpose.

    IkyokuError
    ├── SpecError         a spec, an option or a YAML file asks for something that is not allowed
    ├── DataError         an input file (exam, instruction pairs) cannot be read as what it should be
    ├── ModelError        a model folder or adapter is missing, incomplete or does not fit
    ├── RunError          a run folder is locked, damaged or does not belong to this spec
    └── OfflineError      something tried to reach the network while offline

A message says what was found, where, what is allowed, and what to do. It never holds patient text: a
question or a reply is named by its id, its file and its line.
"""

from __future__ import annotations

from collections.abc import Iterable


class IkyokuError(Exception):
    """Base of every error that the user can mend; the command line prints it and exits with 2."""

    exit_code = 2


class SpecError(IkyokuError):
    """A spec, an option or a YAML file asks for something that is not allowed."""


class DataError(IkyokuError):
    """An input file cannot be read as what it should be."""


class ModelError(IkyokuError):
    """A model folder or an adapter is missing, incomplete, or does not fit."""


class RunError(IkyokuError):
    """A run folder is locked, damaged, or belongs to other inputs."""


class OfflineError(IkyokuError):
    """Something tried to reach the network while ikyoku is offline."""


def together(faults: Iterable[str], *, most: int = 10) -> str:
    """Returns several faults of one input as one text, one a line, the first `most` of them.

    >>> print(together(["line 3: no 'output'", "line 9: not JSON"]))
    line 3: no 'output'
    line 9: not JSON
    """
    lines = list(faults)
    shown = lines[:most]
    if len(lines) > most:
        shown.append(f"… and {len(lines) - most} more")
    return "\n".join(shown)
