"""The database behind the storage: opening it, knowing when it is away, and whose study it holds."""

from __future__ import annotations

import functools
import os
import socket
import warnings
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import optuna
import sqlalchemy as sa
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url

from ablate.records import FrozenStudy
from ablate.scheduling import RefusedError, StorageLostError

P = ParamSpec("P")
T = TypeVar("T")
PATIENCE = 10  # seconds until a database that does not answer counts as unreachable
_LOST = (
    optuna.exceptions.StorageInternalError,
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.PendingRollbackError,
    sa.exc.TimeoutError,
)


def sqlite(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite:///{path.resolve()}"


def parse(url: str) -> URL:
    """An SQLAlchemy URL; `postgresql://` means psycopg 3. Raises RefusedError."""
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise RefusedError("run.storage is a database URL such as postgresql://user@host/name") from None
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def open_storage(url: str) -> RDBStorage:
    """Connect, creating the schema when it is new. Raises RefusedError, which never shows a password."""
    parsed = parse(url)
    try:
        return RDBStorage(parsed.render_as_string(hide_password=False), engine_kwargs=_arguments(parsed))
    except (sa.exc.SQLAlchemyError, ImportError, RuntimeError, *_LOST) as error:
        raise RefusedError(_refusal(parsed, error)) from None


def name_values(study: optuna.Study, metrics: list[str]) -> None:
    """What dashboards call a study's values; Optuna's own name is "Objective 0"."""
    if study.metric_names != metrics:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(metrics)


def _arguments(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        # A browser that reads must not make the coordinator fail; wait for its lock.
        return {"connect_args": {"timeout": 60}}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": PATIENCE}}


def _refusal(url: URL, error: Exception) -> str:
    """Why a storage cannot be used, in one line without its password."""
    shown = url.render_as_string(hide_password=True)
    if isinstance(error, ImportError):
        driver = (
            "pip install 'ablate-bert[postgres]'" if url.get_backend_name() == "postgresql" else str(error)
        )
        return f"run.storage: {shown} needs its database driver: {driver}"
    why = " ".join(str(getattr(error, "orig", None) or error).split())
    return f"run.storage: {hidden(url, f'{shown} cannot be opened: {why}')}"


def hidden(url: URL, text: str) -> str:
    """The text without the URL's password."""
    return text.replace(str(url.password), "***") if url.password else text


def answering(call: Callable[P, T]) -> Callable[P, T]:
    """Turns a database that went away in the middle of a call into StorageLostError."""

    @functools.wraps(call)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except _LOST as error:
            cause = error.__cause__ or error
            why = str(getattr(cause, "orig", None) or cause).strip()
            raise StorageLostError(why.splitlines()[0] if why else type(cause).__name__) from error

    return wrapped


class Claim:
    """One coordinator per study of a shared database, held by an advisory lock that dies with its connection.

    A lock file refuses a second coordinator of one run folder; this refuses one that runs a study of the same
    name from another folder or machine. SQLite lies in the run folder, so the file is enough there.
    """

    def __init__(self, storage: RDBStorage, frozen: FrozenStudy, root: Path) -> None:
        """Raises RefusedError with host and process of the other coordinator, or for another study's name."""
        self.storage, self.study = storage, frozen.name
        self._connection: sa.Connection | None = None
        if storage.engine.dialect.name != "postgresql":
            return
        self._key = zlib.crc32(f"ablate {self.study}".encode())
        known = self._attributes()
        if not self.take():
            raise RefusedError(self._held(known.get("coordinator") or {}))
        if known.get("created", frozen.created) != frozen.created:
            self.release()
            raise RefusedError(
                f"this storage holds another study of the name {self.study}, begun {known['created']} in "
                f"{(known.get('coordinator') or {}).get('root', 'another folder')}; give this one another "
                "name (`name:`), or remove that one with `optuna delete-study`"
            )
        me = {"host": socket.gethostname(), "pid": os.getpid(), "root": str(root.resolve())}
        storage.set_study_user_attr(self._id(), "coordinator", me)
        storage.set_study_user_attr(self._id(), "created", frozen.created)

    def _held(self, other: Mapping[str, Any]) -> str:
        who = f"process {other['pid']} on {other['host']}" if other else "another process"
        where = f" from {other['root']}" if other else ""
        return (
            f"the study {self.study} in this storage is being run by {who}{where}; wait for it, end that "
            "process (its trials resume), or give this study another name"
        )

    def take(self) -> bool:
        """Take the lock, or take it again after the database was away; false when another has it."""
        if self.storage.engine.dialect.name != "postgresql":
            return True
        if self._connection is not None and not self._connection.closed:
            with suppress(sa.exc.SQLAlchemyError):
                self._connection.execute(sa.text("SELECT 1"))
                return True
            self._connection.invalidate()
        self._connection = self.storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return bool(self._connection.scalar(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}))

    def release(self) -> None:
        """Give the lock back."""
        if self._connection is not None:
            with suppress(sa.exc.SQLAlchemyError):
                self._connection.invalidate()  # the pool must not keep the session that holds the lock
                self._connection.close()

    def _id(self) -> int:
        return self.storage.get_study_id_from_name(self.study)

    def _attributes(self) -> dict[str, Any]:
        return self.storage.get_study_user_attrs(self._id())
