"""The guard really refuses, loopback really works, and the libraries really stay quiet. Nothing is mocked or sent."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import http.client
import http.server
import os
import pickle
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ikyoku import offline
from ikyoku.errors import OfflineError
from ikyoku.offline import Refused, RefusedLookup

ADDRESS, NAME = "192.0.2.1", "example.invalid"
SRC = Path(offline.__file__).parents[1]


def fresh(code: str, *arguments: str, **environment: str) -> str:
    """Runs code in a process that has neither the guard nor the variables, and returns what it printed."""
    clean = {name: value for name, value in os.environ.items() if name not in offline.VARIABLES and name != "CI"}
    result = subprocess.run(
        [sys.executable, *arguments, "-c", textwrap.dedent(code)],
        env=clean | {"PYTHONPATH": str(SRC), "HF_ENDPOINT": f"https://{NAME}"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture
def port() -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def tcp(host: str) -> None:
    with socket.socket() as sock:
        sock.connect((host, 443))


def tcp_ex(host: str) -> None:
    with socket.socket() as sock:
        sock.connect_ex((host, 443))


def tcp_c_class(host: str) -> None:
    plain: Any = socket.socket.__mro__[1]
    with contextlib.closing(plain(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        sock.connect((host, 443))


def tcp6(host: str) -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.connect((host, 443, 0, 0))


def udp(host: str) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", 0, (host, 9))


def udp_message(host: str) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendmsg([b"x"], [], 0, (host, 9))


def look_up(host: str) -> None:
    socket.getaddrinfo(host, 443)


def loop_connect(host: str) -> None:
    async def run() -> None:
        with socket.socket() as sock:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (host, 443))

    asyncio.run(run())


def open_connection(host: str) -> None:
    asyncio.run(asyncio.open_connection(host, 443))  # type: ignore[arg-type]


def http_client(host: str) -> None:
    http.client.HTTPConnection(host, timeout=5).request("GET", "/")


EVERYWHERE = [tcp, tcp_ex, udp, udp_message, look_up, http_client, loop_connect, open_connection]


@pytest.mark.parametrize("host", [ADDRESS, NAME])
@pytest.mark.parametrize("way", EVERYWHERE, ids=lambda way: way.__name__)
def test_every_way_out_is_refused_by_number_and_by_name(
    way: Callable[[str], None], host: str, expect_refusal: Any
) -> None:
    with expect_refusal(host) as seen, pytest.raises(Refused, match=r"offline: refused .*nothing was sent"):
        way(host)
    assert {attempt.host for attempt in seen} == {host}


@pytest.mark.parametrize(
    ("way", "host"),
    [
        (tcp_c_class, ADDRESS),  # the C class below socket.socket
        (tcp6, "2001:db8::1"),
        (tcp6, "::ffff:192.0.2.1"),
        (tcp, "127.1"),  # the resolver would read it as 127.0.0.1: what is not plain is refused
        (tcp, "localhost.example.invalid"),
        (udp, "255.255.255.255"),
        (lambda host: socket.create_server((host, 0)), NAME),  # a bind to a name asks the DNS
        (socket.gethostbyname, NAME),
        (socket.gethostbyname_ex, NAME),
        (socket.gethostbyaddr, ADDRESS),
        (lambda host: socket.getnameinfo((host, 1), 0), ADDRESS),
    ],
)
def test_odd_ways_out_are_refused(way: Callable[[str], object], host: str, expect_refusal: Any) -> None:
    with expect_refusal(host), pytest.raises(ConnectionRefusedError, match="offline: refused"):
        way(host)


def test_urllib_wraps_the_refusal(expect_refusal: Any) -> None:
    with expect_refusal(NAME) as seen, pytest.raises(urllib.error.URLError) as caught:
        urllib.request.urlopen(f"https://{NAME}/", timeout=5)
    assert isinstance(caught.value.reason, RefusedLookup)
    assert (seen[0].what, seen[0].port) == ("getaddrinfo", 443)
    assert seen[0].by.endswith("test_offline")  # urllib, http and socket are carriers


def test_a_refusal_is_what_libraries_expect() -> None:
    refused = Refused(errno.ECONNREFUSED, "no")
    assert isinstance(refused, OfflineError) and isinstance(refused, ConnectionRefusedError)
    assert issubclass(RefusedLookup, socket.gaierror) and str(refused) == "no" and refused.errno == errno.ECONNREFUSED
    assert str(pickle.loads(pickle.dumps(refused))) == "no"


def test_a_subclass_that_lies_about_its_family_is_refused(expect_refusal: Any) -> None:
    class Liar(socket.socket):
        family = socket.AF_UNIX  # type: ignore[assignment]

    with Liar(socket.AF_INET) as sock, expect_refusal(ADDRESS), pytest.raises(Refused):
        sock.connect((ADDRESS, 443))


def test_the_payload_is_not_taken_for_an_address(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        assert sock.sendmsg((b"GET / HTTP/1.0\r\n", b"\r\n")) == 18


def test_loopback_is_reachable(port: int) -> None:
    guard = offline.current()
    assert guard is not None
    before = guard.local_connections
    for host in ("127.0.0.1", "localhost", socket.gethostname()):
        with urllib.request.urlopen(f"http://{host}:{port}/", timeout=5) as reply:
            assert reply.read() == b"ok"
    assert guard.local_connections > before

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    assert asyncio.run(ask()).endswith(b"ok")


def test_local_sockets_and_lookups_are_allowed(tmp_path: Path) -> None:
    for host in (None, "localhost", b"127.0.0.1", "::1", "0.0.0.0", socket.gethostname()):
        assert socket.getaddrinfo(host, 80)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.connect(str(tmp_path / "s"))


def test_wrong_calls_keep_their_own_errors() -> None:
    with socket.socket() as sock:
        for wrong in ((5,), ((),), (), ((None, 1),)):
            with pytest.raises(TypeError):
                sock.connect(*wrong)


def test_threads_are_all_recorded(expect_refusal: Any) -> None:
    def knock() -> None:
        for _ in range(50):
            with pytest.raises(Refused):
                tcp(ADDRESS)

    threads = [threading.Thread(target=knock) for _ in range(8)]
    with expect_refusal(ADDRESS) as seen:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(seen) == 400


def test_an_undeclared_host_stays_on_record() -> None:
    assert (
        fresh("""
        import socket
        from ikyoku import offline
        guard = offline.switch_on()
        with guard.declared("192.0.2.1") as seen:
            for host in ("192.0.2.1", "192.0.2.2"):
                try: socket.create_connection((host, 80))
                except offline.Refused: pass
        print([a.host for a in seen], [a.host for a in guard.attempts])
    """)
        == "['192.0.2.1'] ['192.0.2.2']"
    )


def test_importing_changes_nothing() -> None:
    assert (
        fresh("""
        import os, sys
        before = dict(os.environ)
        import ikyoku, ikyoku.offline as offline
        import socket
        heavy = {"torch", "transformers", "huggingface_hub"} & set(sys.modules)
        print(dict(os.environ) == before, offline.is_on(), offline.current(), "connect" in vars(socket.socket), heavy)
    """)
        == "True False None False set()"
    )


def test_switching_on_sets_the_hub_offline_before_and_after_its_import() -> None:
    before = fresh("""
        from ikyoku import offline
        offline.switch_on()
        from huggingface_hub import constants as c
        print(c.HF_HUB_OFFLINE, c.HF_HUB_DISABLE_TELEMETRY, c.HF_HUB_DISABLE_UPDATE_CHECK, offline.current().corrected)
    """)
    assert before == "True True True []"
    after = fresh("""
        import datasets.config as d
        from huggingface_hub import constants as c, is_offline_mode
        from ikyoku import offline
        assert not c.HF_HUB_OFFLINE and not d.HF_HUB_OFFLINE
        guard = offline.switch_on()
        assert offline.switch_on() is guard
        print(c.HF_HUB_OFFLINE, is_offline_mode(), d.HF_HUB_OFFLINE, d.HF_UPDATE_DOWNLOAD_COUNTS)
        assert "huggingface_hub.constants.HF_HUB_OFFLINE" in guard.corrected
        guard.close()
        print(c.HF_HUB_OFFLINE, d.HF_HUB_OFFLINE, d.HF_UPDATE_DOWNLOAD_COUNTS)
    """)
    assert after.splitlines() == ["True True True False", "False False True"]


def test_online_leaves_only_the_offline_switches_out() -> None:
    out = fresh("""
        import os
        import huggingface_hub.constants as early
        from ikyoku import offline
        offline.switch_off_telemetry()
        print(sorted(name for name in offline.VARIABLES if os.environ.get(name) != offline.VARIABLES[name]))
        print(offline.is_on(), early.HF_HUB_OFFLINE, early.HF_HUB_DISABLE_TELEMETRY, early.HF_HUB_DISABLE_UPDATE_CHECK)
    """)
    left_out = ["HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE", "NO_PROXY", "TRANSFORMERS_OFFLINE", "no_proxy"]
    assert out.splitlines() == [str(left_out), "False False True True"]


def test_a_hub_that_cannot_be_corrected_is_refused() -> None:
    assert "before importing it" in fresh("""
        from huggingface_hub import constants
        del constants.HF_HUB_OFFLINE
        from ikyoku import offline
        try: offline.switch_on()
        except offline.OfflineError as error: print(error)
    """)


def test_closing_restores_everything_and_narrowing_stays(port: int) -> None:
    out = fresh(
        """
        import os, socket, sys
        from ikyoku import offline
        before = dict(os.environ)
        guard = offline.switch_on()
        offline.switch_on(loopback=False)
        offline.switch_on()
        try: socket.create_connection(("127.0.0.1", int(os.environ["PORT"])))
        except offline.Refused: print("refused")
        socket.getaddrinfo("localhost", 80)
        guard.close()
        guard.close()
        socket.create_connection(("127.0.0.1", int(os.environ["PORT"]))).close()
        print(dict(os.environ) == before, "connect" in vars(socket.socket), offline.is_on(), len(guard.attempts))
        again = offline.switch_on()
        try: socket.create_connection(("192.0.2.1", 443))
        except offline.Refused: print(again is not guard, len(again.attempts), len(guard.attempts))
        """,
        HF_HUB_OFFLINE="0",
        PORT=str(port),
    )
    assert out.splitlines() == ["refused", "True False False 1", "True 1 1"]


def test_an_audit_hook_that_forbids_ours_is_noticed() -> None:
    assert "forbids ours" in fresh("""
        import sys
        def jealous(event, args):
            if event == "sys.addaudithook": raise RuntimeError
        sys.addaudithook(jealous)
        from ikyoku import offline
        try: offline.switch_on()
        except offline.OfflineError as error: print(error, offline.is_on())
    """)


def test_children_get_the_variables_and_forks_the_guard() -> None:
    environment = offline.environment()
    assert environment.items() >= offline.VARIABLES.items() and environment["PATH"] == os.environ["PATH"]
    assert (
        fresh("""
        import os, socket
        from ikyoku import offline
        offline.switch_on()
        pid = os.fork()
        if pid == 0:
            try: socket.create_connection(("192.0.2.1", 443))
            except offline.Refused: os._exit(7)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), len(offline.current().attempts))
    """)
        == "7 0"
    )


TRAINER = """
    import os, tempfile
    from pathlib import Path
    from ikyoku import offline
    from ikyoku.jobs import doctor
    guard = offline.switch_on()
    if os.environ["VARIABLES"] == "off":
        for name in offline.VARIABLES:
            os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        steps = doctor._run_job(Path(folder), lambda line: None)
    assert all(step.fault is None for step in steps), steps
    print(sorted({attempt.by for attempt in guard.attempts}))
"""


@pytest.mark.parametrize("variables", ["on", "off"])
def test_trl_telemetry_is_not_even_tried_and_without_the_variables_the_guard_catches_it(variables: str) -> None:
    tried = fresh(TRAINER, VARIABLES=variables)
    assert ("huggingface_hub.utils._telemetry" in tried) if variables == "off" else (tried == "[]")


SUITE = """
    import socket, pytest
    def test_phones_home():
        with pytest.raises(OSError):
            socket.create_connection(("192.0.2.7", 80))
    def test_declared(expect_refusal):
        with expect_refusal("192.0.2.1"), pytest.raises(OSError):
            socket.create_connection(("192.0.2.1", 80))
    def test_shared(shared):
        shared("no/such/thing")
"""


@pytest.mark.parametrize(("select", "code"), [("phones", 1), ("declared or shared", 0)])
def test_the_suite_fails_on_an_undeclared_attempt(tmp_path: Path, select: str, code: int) -> None:
    (tmp_path / "conftest.py").write_text(Path(__file__).with_name("conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(textwrap.dedent(SUITE))
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-k", select, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(SRC), "PYTEST_ADDOPTS": ""}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == code, result.stdout
    if code:
        assert "1 passed" in result.stdout
        assert "getaddrinfo 192.0.2.7 port 80" in result.stdout and "test_phones_home" in result.stdout
    else:
        assert "1 passed, 1 skipped" in result.stdout and "IKYOKU_SHARED" in result.stdout
