"""The whole suite runs offline, and fails if anything tried to leave this machine without saying so.

- the guard is switched on here, before any test module is imported;
- `expect_refusal("example.invalid")` is how a test declares what it tries on purpose;
- `shared("data/igakuqa")` is a path below `IKYOKU_SHARED`, or the test is skipped with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from ikyoku import offline
from ikyoku.offline import Attempt

_GUARD = offline.switch_on()
_by_test: dict[int, str] = {}  # id of an attempt on record -> the test during which it was made
_SHARED = Path(os.environ.get("IKYOKU_SHARED") or Path(__file__).parents[1] / ".." / "shared").resolve()

ExpectRefusal = Callable[..., AbstractContextManager[list[Attempt]]]


@pytest.fixture
def expect_refusal() -> ExpectRefusal:
    """Returns a context manager: what it yields holds, after the block, the refused attempts on the named hosts.

    The block must try at least one of them. Attempts on other hosts stay on the session's record.
    """

    @contextmanager
    def declared(*hosts: str) -> Iterator[list[Attempt]]:
        with _GUARD.declared(*hosts) as seen:
            yield seen
        assert seen, f"nothing tried to reach {', '.join(hosts) or '(no host was named)'}"

    return declared


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Returns a function from a path below the shared folder to the real path; it skips the test if there is none."""

    def find(relative: str) -> Path:
        path = _SHARED / relative
        if not path.exists():
            pytest.skip(f"{path} is not here; set IKYOKU_SHARED to the folder that holds {relative}")
        return path

    return find


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Remembers which test an attempt belongs to."""
    result = yield
    for attempt in list(_GUARD.attempts):
        _by_test.setdefault(id(attempt), item.nodeid)
    return result


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails the session if something tried to leave the machine, or if a test lifted the guard."""
    if _GUARD.attempts or offline.current() is not _GUARD:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tried to leave the machine, and during which test."""
    if offline.current() is not _GUARD:
        terminalreporter.section("the offline guard was lifted by a test", red=True, bold=True)
    if _GUARD.attempts:
        terminalreporter.section("tried to leave this machine (refused)", red=True, bold=True)
        for attempt in _GUARD.attempts:
            terminalreporter.line(f"{attempt} during {_by_test.get(id(attempt), 'collection')}")
        terminalreporter.line("Load from a local folder, or declare it with the fixture expect_refusal(host).")
