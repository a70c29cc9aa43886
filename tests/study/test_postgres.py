"""Processes that join one study on a real PostgreSQL, which the test starts.

Needs Debian's postgresql (`apt-get install postgresql`); without it these tests are skipped, but fail where CI is set
to "true".
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ikyoku.errors import RunError
from ikyoku.search.space import Parameter, Space
from ikyoku.study import open_study

SPACE = Space(tuple(Parameter(f"weight.{name}", 0.0, 1.0) for name in "abcd"))
PASSWORD = "geheim"

# A cheap fitness that takes a moment, and says at each candidate that it was begun.
CHILD = """
import sys, time
from pathlib import Path
from ikyoku.search.space import Parameter, Space
from ikyoku.study import open_study

begun, linger = open(sys.argv[1], "a"), int(sys.argv[4])
while not Path(sys.argv[5]).exists():  # both have started
    time.sleep(0.001)
space = Space(tuple(Parameter(f"weight.{name}", 0.0, 1.0) for name in "abcd"))
with open_study(sys.argv[2], "joint", space, trials=int(sys.argv[3]), join=True, heartbeat=0.2) as study:
    while candidate := study.ask():
        begun.write(f"{candidate.number}\\n")
        begun.flush()
        linger -= 1
        time.sleep(0.02 if linger else 300)  # to be killed over this one
        study.tell(candidate, -sum(value**2 for value in candidate.values.values()))
"""


@dataclass
class Server:
    """A running PostgreSQL."""

    folder: Path
    port: int

    @property
    def local(self) -> str:
        """Its address through a socket's file, where everybody is let in."""
        return f"postgresql+psycopg://postgres@/postgres?host={self.folder}&port={self.port}"

    @property
    def remote(self) -> str:
        """Its address over the network, where a password is wanted."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"


def _commands() -> Path | None:
    found = shutil.which("initdb")
    here = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(found).parent if found else here[-1].parent if here else None


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Returns a server of its own in a new folder; it refuses to run as root, so there it runs as postgres."""
    commands = _commands()
    if commands is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no PostgreSQL: CI has to install it (apt-get install postgresql)")
        pytest.skip("no PostgreSQL on this machine (apt-get install postgresql)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="ikyoku-pg-"))  # pytest's own folders are closed to other users
    (folder / "password").write_text(PASSWORD, encoding="ascii")
    user: dict[str, Any] = {}
    if os.getuid() == 0:
        entry = pwd.getpwnam("postgres")
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        for path in (folder, folder / "password"):
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def run(command: str, *arguments: str) -> None:
        subprocess.run(
            [commands / command, *arguments], check=True, capture_output=True, cwd=folder, timeout=120, **user
        )

    data = str(folder / "data")
    run(
        "initdb",
        *("-D", data, "-U", "postgres", "--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256"),
        *(f"--pwfile={folder / 'password'}", "-E", "UTF8", "--locale=C"),
    )
    options = f"-F -p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield Server(folder, port)
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def test_processes_join_and_one_dies(server: Server, child: Callable[..., Any], tmp_path: Path) -> None:
    trials = 24
    lists = [tmp_path / "one", tmp_path / "two"]
    one, two = (child(CHILD, str(lists[k]), server.local, str(trials), "50"[k], str(lists[1 - k])) for k in range(2))
    one.kill_at(lists[0], 5)
    two.finish()

    with open_study(server.local, "joint", SPACE, trials=trials) as study:
        records = study.records()
        assert study.done
        assert study.ask() is None
    begun = [[int(line) for line in path.read_text().split()] for path in lists]
    last = begun[0][-1:]
    assert [r["number"] for r in records] == list(range(trials))
    assert {r["state"] for r in records} == {"complete"}
    assert len({tuple(r["values"].values()) for r in records}) == trials
    assert sorted(begun[0] + begun[1]) == sorted([*range(trials), *last])  # the one that it was killed over, no other
    assert [r["number"] for r in records if r["attempts"] == 2] == last
    assert len({r["worker"] for r in records}) == 2


def test_a_password_comes_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with open_study(server.remote, "alone", SPACE, trials=2, sampler="random") as study:
        while candidate := study.ask():
            study.tell(candidate, 0.5)
        assert study.finished == 2
    monkeypatch.setenv("PGPASSWORD", "falsch")
    with pytest.raises(RunError, match="password authentication failed") as caught:
        open_study(server.remote, "alone", SPACE, trials=2, sampler="random")
    assert "falsch" not in str(caught.value)
