"""Where a study is kept: a SQLite file, a journal file, or PostgreSQL inside the hospital."""

from __future__ import annotations

import fcntl
import os
import random
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ikyoku import offline
from ikyoku.errors import RunError, SpecError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy import URL, Engine

KINDS = "a path, sqlite:///FILE, journal:FILE, or postgresql+psycopg://USER@HOST/DATABASE"
_PORT = 5432
_PATIENCE = 60.0  # seconds that SQLite waits for another process's transaction
_LOST = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
# libpq's, in seconds, the last in ms: a cable that was pulled is an error within a minute, by default it is hours
_ATTEMPTS = 8  # several processes may create the tables of one database at the same time
_ELSEWHERE = ("service", "hostaddr")  # of libpq: they lead to a host that stands somewhere else


class Storage:
    """An opened storage.

    Attributes:
        shown: what messages and records call it; it holds no password.
        optuna: Optuna's storage.
    """

    def __init__(self, shown: str, storage: BaseStorage, engine: Engine | None = None) -> None:
        self.shown, self.optuna, self._engine = shown, storage, engine

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Turns what goes wrong in the storage into one message.

        Raises:
            RunError: the storage does not answer, is full or damaged.
        """
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (SQLAlchemyError, StorageInternalError, OSError, ValueError) as error:
            if isinstance(error, ValueError) and self._engine is not None:
                raise
            raise RunError(_words(self.shown, error)) from None

    def close(self) -> None:
        """Closes the connections."""
        if self._engine is not None:
            self._engine.dispose()


def open_storage(storage: str | Path) -> Storage:
    """Returns an opened storage; a file that is not there is made.

    A database beside this machine is declared to the network guard, and connected to at the address that the guard has
    permitted: psycopg's sockets are made by C code, which the guard does not see. A password is taken from PGPASSWORD
    or ~/.pgpass, never from the address, which is on record.

    Args:
        storage: a path or an address; see `KINDS`.

    Raises:
        SpecError: no address of a storage, or one with a password in it.
        RunError: it cannot be opened.
        OfflineError: the database is not inside the hospital.
    """
    if isinstance(storage, Path):
        return _sqlite(storage)
    if storage.startswith("journal:"):
        return _journal(Path(storage.removeprefix("journal:")))
    url = _url(storage)
    if url.drivername.startswith("sqlite"):
        return _sqlite(Path(url.database or ""))
    return _postgresql(url)


def _url(text: str) -> URL:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise SpecError(f"storage: not an address. Give {KINDS}.") from None
    if url.password is not None or any("password" in key.lower() for key in url.query):
        raise SpecError("storage: the address holds a password, which would be on record. Use PGPASSWORD or ~/.pgpass.")
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        if not url.database or url.database == ":memory:":
            raise SpecError(f"storage: {text}: a study is kept in a file. Give {KINDS}.")
        return url
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise SpecError(f"storage: {url.drivername} is not supported. Give {KINDS}.")
    return url.set(drivername="postgresql+psycopg")


def _sqlite(path: Path) -> Storage:
    """Opens a SQLite file whose transactions begin as writers, so that none acts on what another has changed since.

    With a write-ahead log a kill costs nothing, and a power cut at most the last candidates.
    """
    import sqlalchemy

    _check_folder(path)
    opened, engine = _database(f"sqlite:///{path}", str(path), {"connect_args": {"timeout": _PATIENCE}})
    engine.dispose()  # the connections made before the listeners

    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver begins no transaction of its own
        with suppress(sqlite3.OperationalError):  # where a log is not possible, or another opens the file just now
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sqlalchemy.event.listen(engine, "connect", connected)
    sqlalchemy.event.listen(engine, "begin", begun)
    return Storage(str(path), opened, engine)


def _postgresql(url: URL) -> Storage:
    shown = url.render_as_string(hide_password=True)
    named = [key for key in _ELSEWHERE if key in url.query or f"PG{key.upper()}" in os.environ]
    if named:
        raise SpecError(f"storage: {named[0]} is set, by the address or as PG{named[0].upper()}: name the host itself")
    hosts = url.query.get("host") or url.host or os.environ.get("PGHOST") or ""
    host = hosts if isinstance(hosts, str) else ",".join(hosts)
    arguments: dict[str, Any] = {"connect_timeout": 10, "application_name": "ikyoku", **_LOST}
    if "," in host:
        raise SpecError(f"storage: {shown}: several hosts; name one")
    if host and not host.startswith(("/", "@")):  # what is neither is a name or an address: not a socket's file
        port = url.port or int(os.environ.get("PGPORT") or _PORT)
        if addresses := offline.allow(host, port).addresses:
            arguments["hostaddr"] = addresses[0]  # what was permitted, whatever the name stands for later
    more = {"connect_args": arguments, "pool_pre_ping": True}
    return Storage(shown, *_database(url.render_as_string(hide_password=False), shown, more))


def _database(address: str, shown: str, more: Mapping[str, Any]) -> tuple[BaseStorage, Engine]:
    """Opens a database and makes its tables, where another process may be doing so."""
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage, get_storage
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

    _quiet()
    for attempt in range(_ATTEMPTS):
        try:
            made = RDBStorage(address.replace("{", "{{").replace("}", "}}"), engine_kwargs=dict(more))
            return get_storage(made), made.engine
        except (SQLAlchemyError, StorageInternalError, RuntimeError, AssertionError) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) else error
            both = isinstance(cause, IntegrityError | ProgrammingError) or (
                isinstance(cause, OperationalError) and "already exists" in str(cause)
            )
            if not both or attempt == _ATTEMPTS - 1:
                raise RunError(_words(shown, error)) from None
        time.sleep(random.uniform(0.05, 0.3))
    raise AssertionError


def _journal(path: Path) -> Storage:
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    _quiet()
    _check_folder(path)
    try:
        return Storage(str(path), JournalStorage(JournalFileBackend(str(path), lock_obj=_Lock(path))))
    except (OSError, ValueError, KeyError, AssertionError) as error:
        raise RunError(_words(str(path), error)) from None


class _Lock:
    """A lock that the system releases when its process dies; those of Optuna stay for half a minute.

    Lines are written under it alone. So one that is not finished when it is acquired will never be: a power cut or a
    full disk ended it, and what is appended to it would make the journal unreadable for all. It is dropped.
    """

    def __init__(self, path: Path) -> None:
        self._journal, self._path = path, path.with_name(f".{path.name}.lock")
        self._open: int | None = None

    def acquire(self) -> bool:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        self._open = handle
        try:
            _drop_unfinished_line(self._journal)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        if self._open is not None:
            handle, self._open = self._open, None
            os.close(handle)


def _drop_unfinished_line(path: Path) -> None:
    with path.open("rb+") as file:
        if not file.seek(0, os.SEEK_END):
            return
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def _check_folder(path: Path) -> None:
    if path.is_dir() or not path.name:
        raise SpecError(f"storage: {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise SpecError(f"storage: {path.parent}: no such folder")


def _quiet() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _words(shown: str, error: BaseException) -> str:
    """Returns what went wrong as a message: where, what the storage says, what to do. No statement, no values."""
    link: BaseException = error
    while (cause := getattr(link, "orig", None) or link.__cause__) is not None:
        link = cause
    lines = str(link).strip().splitlines()
    said = lines[0][:300] if lines else type(link).__name__
    with suppress(KeyError):
        said = said.replace(os.environ["PGPASSWORD"] or "\0", "***")
    low = said.lower()
    if any(part in low for part in ("not a database", "malformed", "invalid log", "expecting", "unterminated")):
        advice = "It is damaged, or something else: move it away, or name another; the study in it cannot be continued."
    elif "locked" in low:
        advice = "Another program holds it. Wait for it or stop it; the same command continues."
    elif "full" in low or "no space" in low:
        advice = "Make room there; the same command continues."
    else:
        advice = "See that it runs and lets this user in; the same command continues."
    return f"{shown}: the study's storage gives no answer that can be used: {said}. {advice}"
