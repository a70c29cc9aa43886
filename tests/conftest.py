"""The whole suite runs offline, and fails if anything tried to leave this machine without saying so.

- the guard is switched on here, before any test module is imported;
- `expect_refusal("example.invalid")` is how a test declares what it tries on purpose;
- `shared("data/igakuqa")` is a path below `IKYOKU_SHARED`, or the test is skipped with the reason;
- `tiny_bases`, `tiny_lab` are the pocket lab at size tiny, `tiny_tuned` an adapter on a base of it, all made once;
- `tiny_xray_lab` is the X-ray lab at size tiny;
- `command(...)` is a process of its own with the command line in it, `child(code)` one with any code, to be killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from ikyoku import offline
from ikyoku.offline import Attempt

# Models of size tiny are as fast with one thread; with more, threads that wait for each other take minutes where
# something else runs beside the tests. Children inherit it, so that they compute the same bits.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A suite that a shell started in the background inherits that Ctrl-C is ignored; tests that press it would hang.
signal.signal(signal.SIGINT, signal.default_int_handler)

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


@pytest.fixture(scope="session")
def tiny_cache() -> Path:
    """Returns the cache in which the tiny bases are kept from one session to the next, by the hash of their recipe."""
    return Path(__file__).parents[1] / ".cache" / "tests"


@pytest.fixture(scope="session")
def tiny_bases(tiny_cache: Path) -> dict[str, Path]:
    """Returns the folders of the two tiny bases, by name; they take seconds the first time."""
    from ikyoku.lab.pocket import make_bases

    return make_bases("tiny", seed=0, cache=tiny_cache)


@pytest.fixture(scope="session")
def tiny_xray_lab(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of the X-ray lab at size tiny: phantoms, reports, four models that know nothing."""
    from ikyoku.lab.xray import make_xray_lab

    return make_xray_lab("tiny", seed=0, folder=tmp_path_factory.mktemp("xray") / "lab", cache=tiny_cache).folder


@pytest.fixture(scope="session")
def tiny_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with the tiny world's files.

    They are instructions, pocket-dev, pocket-test, retention and demonstrations, all JSONL.
    """
    from ikyoku.datasets.exams import write_exam
    from ikyoku.datasets.instructions import write_instructions
    from ikyoku.lab.pocket import world_of

    folder = tmp_path_factory.mktemp("lab")
    world = world_of("tiny", seed=0)
    write_exam(folder / "pocket-dev.jsonl", world.dev)
    write_exam(folder / "pocket-test.jsonl", world.test)
    write_exam(folder / "retention.jsonl", world.retention)
    write_exam(folder / "demonstrations.jsonl", world.demonstrations)
    write_instructions(folder / "instructions.jsonl", world.instructions)
    return folder


@pytest.fixture(scope="session")
def tiny_tuned(tiny_bases: dict[str, Path], tiny_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of an adapter for tiny-ja that changes what it says."""
    import ikyoku

    spec = ikyoku.TuneSpec(
        model=ikyoku.ModelSpec(path=str(tiny_bases["tiny-ja"])),
        data=str(tiny_lab / "instructions.jsonl"),
        lora=ikyoku.LoraSpec(rank=16, alpha=16, dropout=0.0, target_modules="all-linear"),
        learning_rate=1e-2,
        batch_size=16,
        steps=60,
    )
    done = ikyoku.tune(spec, root=tmp_path_factory.mktemp("tuned"))
    return done.folder / "artifact" / "adapter"


@dataclass
class Child:
    """A process that runs Python code, with its output in files."""

    process: ForkServerProcess
    out: Path
    err: Path

    def finish(self, code: int = 0) -> str:
        """Waits for the end, checks the exit code and returns what was printed."""
        self.process.join(300)
        assert self.process.exitcode == code, f"exit {self.process.exitcode}\n{self.err.read_text(encoding='utf-8')}"
        return self.out.read_text(encoding="utf-8")

    def kill_at(self, records: Path, lines: int, *, pattern: str = "") -> None:
        """Ends the process with SIGKILL once a file has so many lines; fails if it ends by itself before.

        With a pattern, `records` is a folder and the file is what in it matches.
        """
        until = time.monotonic() + 300
        while self.process.is_alive() and time.monotonic() < until:
            found = records.glob(pattern) if pattern else [records]
            if any(path.is_file() and path.read_bytes().count(b"\n") >= lines for path in found):
                break
            time.sleep(0.002)
        self.process.kill()
        self.process.join()
        killed = self.process.exitcode == -signal.SIGKILL
        assert killed, f"ended by itself, exit {self.process.exitcode}\n{self.err.read_text(encoding='utf-8')}"


_CHILD = """
import os, sys, warnings
for number, path in ((1, {out!r}), (2, {err!r})):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
warnings.simplefilter("error")
sys.argv = {argv!r}
exec({code!r}, {{"__name__": "child"}})
"""


@pytest.fixture(scope="session")
def _children() -> multiprocessing.context.ForkServerContext:
    """The server that children are forked from: the libraries are imported once, not once a child.

    Nothing is computed in it, so that a child is as good as a fresh interpreter.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "ikyoku.cli",
            "ikyoku.jobs.tune",
            "ikyoku.jobs.evaluate",
            "ikyoku.jobs.evolve",
            "ikyoku.jobs.merge",
            "cmaes",
            "optuna.storages",
            "scipy.stats",
            "sqlalchemy",
            "ikyoku.lab.pocket",
            "bitsandbytes",
            "trl.trainer.sft_trainer",
            "transformers.models.auto.modeling_auto",
            "transformers.models.llama.modeling_llama",
        ]
    )
    return context


@pytest.fixture
def child(_children: multiprocessing.context.ForkServerContext, tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Returns a function that starts a process with the given code and returns it; warnings are errors in it."""
    started: list[Child] = []

    def start(code: str, *argv: str) -> Child:
        out, err = (tmp_path / f".child-{len(started)}.{name}" for name in ("out", "err"))
        text = _CHILD.format(out=str(out), err=str(err), argv=["ikyoku", *argv], code=code)
        process = _children.Process(target=exec, args=(text, {}))
        process.start()
        started.append(Child(process, out, err))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.join()
        each.process.close()


@pytest.fixture
def command(child: Callable[..., Child]) -> Callable[..., Child]:
    """Returns a function that starts `ikyoku` with the given arguments in a process of its own."""

    def start(*arguments: object) -> Child:
        return child("from ikyoku.cli import main; main()", *map(str, arguments))

    return start


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
