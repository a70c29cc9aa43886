"""One switch: environment variables, a socket guard, and the record of what was tried and refused.

`switch_on()` sets `VARIABLES`, so that libraries do not even try (and corrects those that were imported before);
installs a guard that refuses every connection, datagram and name look-up that would leave this machine; and keeps
`Guard.attempts`: what was tried, towards where, by which module. Never a payload. `switch_off_telemetry()`, for
`--online`, sets only the variables that are not about being offline. Importing this module changes nothing.

The guard sees by a `sys.addaudithook` hook, which CPython calls in its C socket module: subclasses and old references
of `socket.socket` do not get round it. Given a *name*, `connect`, `sendto` and `bind` look it up (DNS) before the audit
event, so they are also wrapped while the guard is on.

What it does not see, and a firewall or `unshare --net` must hold:
- sockets opened by compiled code (torch's gloo and NCCL, hf_xet's Rust, `ctypes`), which never pass through Python;
- other processes: children inherit the variables (`environment()`), but only ikyoku's own switch on their own guard; a
  forked child has the guard, and its record stays in the child;
- connections open before `switch_on`, and those that others open to a server listening here (`bind` to a number and
  `accept` are allowed: the reading room serves the hospital's browsers);
- a program on this machine that forwards, such as a proxy on loopback (`NO_PROXY=*` keeps the usual libraries off it);
- the look-up of a name given to `_socket.socket` directly (its connection is refused, but after the look-up);
- code that means harm, which can call `Guard.close()`: this is against libraries that phone home, not against malware.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, MappingProxyType
from typing import Any, Literal

from ikyoku.errors import OfflineError

VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        # Read in the source of the installed versions (huggingface_hub 2.4, transformers 5.23, datasets 5.2, TRL 1.16).
        "HF_HUB_OFFLINE": "1",  # huggingface_hub, and through it transformers, PEFT, TRL: no request to the hub
        "TRANSFORMERS_OFFLINE": "1",  # transformers before 5; huggingface_hub reads it as a second name
        "HF_DATASETS_OFFLINE": "1",  # datasets: wins over HF_HUB_OFFLINE there, so it must be set too
        "HF_HUB_DISABLE_TELEMETRY": "1",  # TRL's ping at every trainer, transformers' user agent
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",  # hf command line: PyPI, skill and extension checks
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",  # huggingface_hub: a stored token is not sent unasked
        "HF_HUB_DISABLE_XET": "1",  # huggingface_hub: hf_xet is Rust, its sockets are invisible to the guard
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets: the ping that counts uses of a loading script
        "USE_HUB_KERNELS": "NO",  # transformers with the package `kernels`: compiled code from the hub
        "DO_NOT_TRACK": "1",  # huggingface_hub, and others that follow donottrack.sh (axolotl, vLLM)
        "DISABLE_TELEMETRY": "1",  # huggingface_hub's older name for the same
        "WANDB_MODE": "disabled",  # Weights & Biases, which the trainers call where it is installed
        # By those projects' own words; not tried here. They matter in child processes and shared environments.
        "VLLM_NO_USAGE_STATS": "1",  # vLLM
        "AXOLOTL_DO_NOT_TRACK": "1",  # axolotl
        "OLLAMA_NO_CLOUD": "1",  # Ollama: no cloud models
        "GRADIO_ANALYTICS_ENABLED": "False",  # Gradio
        "MLFLOW_DISABLE_TELEMETRY": "true",  # MLflow 3
        "COMET_MODE": "disabled",  # Comet
        "RAY_USAGE_STATS_ENABLED": "0",  # Ray
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",  # pip: the question after a newer pip
        "NO_PROXY": "*",  # urllib, requests, httpx: a proxy on this machine would be a way out through loopback
        "no_proxy": "*",  # the same; some read only this spelling
    }
)

_CONSTANTS: Mapping[str, bool] = {  # copies of the variables that libraries take when they are imported
    **{name: value == "1" for name, value in VARIABLES.items() if name.startswith("HF_")},
    "_kernels_enabled": False,  # transformers.integrations.hub_kernels
    "_is_offline_mode": True,  # transformers.utils.hub before 5
}

# What makes a process offline, beside the guard; all other variables hold online too.
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "NO_PROXY", "no_proxy", "_is_offline_mode")

# Modules that carry other people's requests: not the answer to "who tried?".
_TRANSPORT = frozenset(
    "aiohttp anyio asyncio concurrent contextlib encodings fsspec ftplib h11 h2 http httpcore httpcore2 httpx httpx2 "  # noqa: SIM905 short
    "logging requests selectors smtplib sniffio socket socketserver ssl threading urllib urllib3 xmlrpc".split()
)

What = Literal["connect", "sendto", "bind", "getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo"]
_EVENTS: Mapping[str, What] = {
    "socket.connect": "connect",  # connect and connect_ex
    "socket.sendto": "sendto",
    "socket.sendmsg": "sendto",
    "socket.getaddrinfo": "getaddrinfo",
    "socket.gethostbyname": "gethostbyname",  # and gethostbyname_ex
    "socket.gethostbyaddr": "gethostbyaddr",
    "socket.getnameinfo": "getnameinfo",
}
_MOST_ATTEMPTS = 10_000
_PLAIN = socket.socket.__mro__[1]  # the C class: its `family` cannot be overridden by a subclass


class Refused(OfflineError, ConnectionRefusedError):  # noqa: N818 - the guard's word, as the record prints it
    """The guard refused a connection or a datagram.

    Also a `ConnectionRefusedError` (an `OSError`), so that a library's own fallback for "no network" works.
    """

    def __str__(self) -> str:
        return str(self.strerror)


class RefusedLookup(Refused, socket.gaierror):
    """The guard refused a name look-up. Also a `socket.gaierror`, as libraries expect of a resolver."""


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One thing that was tried and refused.

    `host` is the name or address as it was given, `port` None where there was none, `by` the nearest module in the call
    stack that is not itself transport (`huggingface_hub.utils._telemetry`, not `socket`).
    """

    what: What
    host: str
    port: int | None
    by: str

    def __str__(self) -> str:
        place = self.host if self.port is None else f"{self.host} port {self.port}"
        return f"{self.what} {place} (by {self.by})"


class Guard:
    """The state of the switch in this process. Made by `switch_on`, never directly.

    Attributes:
        attempts: what was tried and refused and not declared, oldest first; the first 10,000 are kept.
        corrected: constants of libraries that had been imported while online, e.g. `datasets.config.HF_HUB_OFFLINE`.
        loopback: whether connections inside this machine are allowed.
        local_connections: how many of those were let through (threads at once may lose a few).
    """

    def __init__(self, *, loopback: bool) -> None:
        self.attempts: list[Attempt] = []
        self.corrected: list[str] = []
        self.loopback = loopback
        self.local_connections = 0
        self._names = frozenset({"", "localhost", socket.gethostname().lower()})
        self._variables_before: dict[str, str | None] = {}
        self._constants_before: list[tuple[dict[str, Any], str, bool]] = []
        self._removing = threading.Lock()  # between declared() blocks only: the hook takes no lock

    @contextmanager
    def declared(self, *hosts: str) -> Iterator[list[Attempt]]:
        """Takes the attempts on `hosts` that are made inside the block off the record.

        Yields a list that is filled when the block ends. Attempts on other hosts, or later ones, stay on record.
        """
        seen: list[Attempt] = []
        before = {id(attempt) for attempt in self.attempts}
        try:
            yield seen
        finally:
            with self._removing:
                for attempt in list(self.attempts):
                    if id(attempt) not in before and attempt.host in hosts:
                        self.attempts.remove(attempt)  # by identity; appends by other threads are safe
                        seen.append(attempt)

    def close(self) -> None:
        """Lifts the guard and puts variables and constants back. For tests, and for an explicit `--online`."""
        global _current
        with _switching:
            if _current is not self:
                return
            _current = None
            _unwrap()
            for name, value in self._variables_before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
            for namespace, name, constant in self._constants_before:
                namespace[name] = constant

    def _judge(self, what: What, family: int | None, address: Any) -> None:
        """Returns if this stays inside the machine, else records it and raises `Refused`."""
        if family == getattr(socket, "AF_UNIX", -1) or family == getattr(socket, "AF_NETLINK", -1) or address is None:
            return  # neither can leave the machine; sendmsg without an address: its connect was judged
        host, port = _host_and_port(address)
        if family in (None, socket.AF_INET, socket.AF_INET6):
            inside = _is_loopback(host) or host.lower() in self._names
            sends = what in ("connect", "sendto")
            if inside and (self.loopback or not sends):
                self.local_connections += sends
                return
        self._refuse(what, host, port)

    def _judge_name(self, what: What, family: int, address: Any) -> None:
        """Like `_judge`, before the C method resolves a name; what it lets through meets `_judge` in the audit hook."""
        if family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple) or not address:
            return
        host, port = _host_and_port(address)
        is_name = isinstance(address[0], (str, bytes, bytearray)) and _number(host) is None
        if is_name and host.lower() not in self._names:
            self._refuse(what, host, port)

    def _refuse(self, what: What, host: str, port: int | None) -> None:
        attempt = Attempt(what, host, port, _who(sys._getframe(2)))
        if len(self.attempts) < _MOST_ATTEMPTS:
            self.attempts.append(attempt)
        message = f"offline: refused {attempt}; nothing was sent. Name a local folder, or use --online"
        if what in ("connect", "sendto", "bind"):
            raise Refused(errno.ECONNREFUSED, message)
        raise RefusedLookup(socket.EAI_FAIL, message)


_current: Guard | None = None
_hooked = False
_seen_probe = False
_switching = threading.RLock()  # between switch_on and close only
_wrapped: dict[str, tuple[Callable[..., Any], Any]] = {}  # method -> (ours, the class's own entry before or None)


def is_on() -> bool:
    """Returns whether this process is offline by this switch."""
    return _current is not None


def current() -> Guard | None:
    """Returns the guard of this process, or None while it is off."""
    return _current


def environment() -> dict[str, str]:
    """Returns this process's environment with `VARIABLES` set, for a child process."""
    return {**os.environ, **VARIABLES}


def switch_on(*, loopback: bool = True) -> Guard:
    """Takes this process offline and returns its guard; a second call returns the same guard.

    A second call sets again what was changed in between, and can only narrow: `loopback=False` stays.

    Args:
        loopback: whether connections inside this machine (127.0.0.0/8, ::1) are allowed. Unix sockets always are.

    Raises:
        OfflineError: the guard cannot be installed, or huggingface_hub was imported online and cannot be corrected.
    """
    global _current
    with _switching:
        guard = _current or Guard(loopback=loopback)
        guard.loopback = guard.loopback and loopback
        for name, value in VARIABLES.items():
            guard._variables_before.setdefault(name, os.environ.get(name))
            os.environ[name] = value
        _install_hook()
        _wrap()
        _current = guard
        _correct_constants(guard)
        return guard


def switch_off_telemetry() -> None:
    """Sets every variable that is not about being offline: what holds for a process that is meant to be online."""
    os.environ.update({name: value for name, value in VARIABLES.items() if name not in _OFFLINE})
    for _, namespace, constant, wanted in _stale_constants():
        if constant not in _OFFLINE:
            namespace[constant] = wanted


def _install_hook() -> None:
    """Adds the audit hook once a process (Python has no way to take one out) and checks that it is really called."""
    global _hooked, _seen_probe
    if not _hooked:
        sys.addaudithook(_hook)
        sys.audit("ikyoku.offline.probe")  # another hook may have silently forbidden ours
        if not _seen_probe:
            raise OfflineError(
                "offline: another audit hook of this process forbids ours, so nothing would be guarded. "
                "Start ikyoku in a process of its own"
            )
        _hooked = True


def _hook(event: str, args: tuple[Any, ...]) -> None:
    global _seen_probe
    if not event.startswith("socket."):  # called for every import and open: this line is all they cost
        if event == "ikyoku.offline.probe":
            _seen_probe = True
        return
    guard, what = _current, _EVENTS.get(event)
    if guard is None or what is None:
        return
    if what in ("connect", "sendto"):
        guard._judge(what, _family(args[0]), args[1])
    else:
        host = args[0] if what == "getnameinfo" else (b"" if args[0] is None else args[0], *args[1:2])
        guard._judge(what, None, host)


def _wrap() -> None:
    """Puts the name check before the methods that resolve a name in C before their audit event."""
    methods: Mapping[str, What] = {"connect": "connect", "connect_ex": "connect", "sendto": "sendto", "bind": "bind"}
    for method, what in {**methods, "sendmsg": "sendto"}.items():
        if method not in _wrapped and hasattr(socket.socket, method):
            ours = _checked(getattr(socket.socket, method), what, 3 if method == "sendmsg" else 0)
            _wrapped[method] = (ours, socket.socket.__dict__.get(method))
            setattr(socket.socket, method, ours)


def _checked(original: Callable[..., Any], what: What, after: int) -> Callable[..., Any]:
    def method(self: socket.socket, *args: Any) -> Any:
        guard = _current
        if guard is not None and len(args) > after:  # the address is the last argument, of sendmsg the fourth
            guard._judge_name(what, _family(self), args[-1])
        return original(self, *args)

    method.__name__ = method.__qualname__ = original.__name__
    method.__doc__ = original.__doc__
    return method


def _unwrap() -> None:
    for method, (ours, before) in list(_wrapped.items()):
        if socket.socket.__dict__.get(method) is not ours:
            continue  # someone wrapped ours: it stays below and does nothing while the guard is off
        if before is None:
            delattr(socket.socket, method)
        else:
            setattr(socket.socket, method, before)
        del _wrapped[method]


def _stale_constants() -> Iterator[tuple[str, dict[str, Any], str, bool]]:
    """Yields the copies that libraries took at import and that are wrong now: module, namespace, name, right value."""
    for name, module in list(sys.modules.items()):
        namespace = getattr(module, "__dict__", None)
        if isinstance(namespace, dict):
            for constant, wanted in _CONSTANTS.items():
                if isinstance(namespace.get(constant), bool) and namespace[constant] is not wanted:
                    yield name, namespace, constant, wanted


def _correct_constants(guard: Guard) -> None:
    """Sets the copies that libraries took at import; new imports read `os.environ`."""
    for name, namespace, constant, wanted in _stale_constants():
        guard._constants_before.append((namespace, constant, not wanted))
        guard.corrected.append(f"{name}.{constant}")
        namespace[constant] = wanted
    hub = sys.modules.get("huggingface_hub.constants")
    if hub is not None and getattr(hub, "HF_HUB_OFFLINE", None) is not True:
        raise OfflineError(
            "offline: huggingface_hub was imported before the switch, in a version whose offline constant is not known "
            "here. Call ikyoku.offline.switch_on() before importing it"
        )


def _family(sock: Any) -> int:
    return int(_PLAIN.family.__get__(sock))  # type: ignore[attr-defined]  # a slot of C


def _host_and_port(address: Any) -> tuple[str, int | None]:
    """Returns what can be said of an address in words: its first item as text, its second if it is a number."""
    parts = address if isinstance(address, (tuple, list)) else (address,)
    host = parts[0] if parts else ""
    text = bytes(host).decode("ascii", "backslashreplace") if isinstance(host, (bytes, bytearray)) else str(host)
    port = parts[1] if len(parts) > 1 else None
    if isinstance(port, (str, bytes)) and port.isdigit():
        port = int(port)
    return text, port if isinstance(port, int) else None


def _is_loopback(host: str) -> bool:
    """Returns whether `host` is a numeric address inside this machine; 0.0.0.0 and :: mean this machine too.

    >>> [_is_loopback(host) for host in ("127.8.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "192.0.2.1", "127.1", "x")]
    [True, True, True, True, False, False, False]
    """
    address = _number(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _who(frame: FrameType | None) -> str:
    """Returns the name of the nearest module that is neither this one nor transport."""
    nearest = ""
    for _ in range(100):
        if frame is None:
            break
        name = str(frame.f_globals.get("__name__", "?"))
        if name != __name__:
            nearest = nearest or name
            if name.partition(".")[0] not in _TRANSPORT:
                return name
        frame = frame.f_back
    return nearest or "?"
