"""Weights & Biases as a live view: the only file that imports the SDK.

The network never hurts a trial. A server that cannot be reached costs a few seconds once, the run goes
offline, and one line says how to upload it later. Measured on two cores: import 0.7 s, start offline 0.6 s,
one `log` 0.5 ms, finish offline 0.01 s (the SDK's service, a process of its own, writes the rest).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from ablate.tracking.config import WandbSpec
from ablate.tracking.interface import Kept, RunInfo
from ablate.tracking.live import TIME, rows
from ablate.tracking.login import login

PREFLIGHT_SECONDS = 3.0
INIT_SECONDS = 8.0  # preflight + this + start offline stay under 15 s
PREDICTIONS = 10_000  # rows of one table of predictions: what its page shows; the record holds all of them
FINISH_SECONDS = 30.0  # what is not uploaded by then stays on disk and can be synced
ASK_SECONDS = 10.0  # for asking, after that, what has arrived


class Wandb:
    """One W&B run. Errors of the SDK and of the disk become warnings; nothing is raised into training.

    An attempt that is killed takes with it what the SDK had not sent yet (up to 30 s of rows online, whole
    blocks of 32 KiB offline). The local page's file has every row, so a run that goes on online first gets
    those that the server lacks. `files` is where the SDK keeps its own, the trial's folder by default;
    `patience` is how long the end of a run may take, in seconds.
    """

    def __init__(
        self, spec: WandbSpec, *, files: Path | None = None, patience: float = FINISH_SECONDS
    ) -> None:
        self.spec, self.files, self.patience = spec, files, patience
        self._caught_up = False
        self._last, self._lost = -1, False  # the last step logged; whether the server lacks what was sent
        self._run: Any = None
        self._about: dict[str, Any] = {}  # empty: off
        self._info: RunInfo | None = None
        self._warnings: list[str] = []
        self._seen: set[type[Exception]] = set()

    @property
    def warnings(self) -> list[str]:
        return list(self._warnings)

    def start(self, run: RunInfo) -> None:
        """Start (or, under the same id, continue) the run: online where that is wanted and possible."""
        quiet()
        try:
            import wandb
        except ImportError as error:
            return self._warn(f"W&B is off: the SDK cannot be imported ({error}); pip install wandb")
        if self.spec.mode == "online":
            obstacle = self._obstacle()
            if obstacle is None:
                obstacle = self._init(wandb, run, "online")
                if obstacle is None:
                    return None
                # The SDK's service still holds the run's id: a fresh one is needed for the offline run.
                _teardown()
            self._init_offline(wandb, run, f"W&B is offline: {obstacle}")
        else:
            self._init_offline(wandb, run, None)
        return None

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        self.catch_up(before=step)
        self._last = step
        self._call(partial(_log, metrics, step))

    def summary(self, metrics: Mapping[str, float]) -> None:
        self.catch_up()
        self._call(lambda run: run.summary.update(dict(metrics)))

    def catch_up(self, before: float = math.inf) -> None:
        """Send an online run, once, the rows below step `before` that the server lacks."""
        if self._caught_up or self._info is None or self._about["mode"] != "online":
            return
        self._caught_up = True
        for row in rows(self._info.directory / "live.jsonl"):
            step, at = row.pop("step"), row.pop(TIME, None)
            if step < before:
                self._last = step
                sent = row | ({"_timestamp": at} if at is not None else {})
                self._call(partial(_log_where_new, sent, step))

    def keep(self, kept: Kept) -> None:
        """Upload what `track.wandb.keep` names; a checkpoint's files are read where they lie, not copied."""
        if "predictions" in self.spec.keep:
            for path in sorted(kept.predictions.glob("*.parquet")):
                self._call(partial(_log_table, path))
        if "checkpoint" in self.spec.keep:
            newest = _newest_checkpoint(kept.checkpoint)
            if newest is not None:
                self._artifact("checkpoint", "model", [newest, kept.checkpoint / "tokenizer.json"])
        if "data" in self.spec.keep and kept.data and self._info is not None:
            path = self._folder(self._info) / "wandb" / "data-manifest.json"
            self._call(partial(_write, path, kept.data))
            self._artifact("data-manifest", "dataset-manifest", [path])

    def _artifact(self, name: str, kind: str, paths: list[Path]) -> None:
        def send(run: Any) -> None:
            import wandb

            artifact = wandb.Artifact(f"{name}-{run.id}", type=kind)
            for path in paths:
                if path.is_dir():
                    artifact.add_dir(str(path), name=path.name, skip_cache=True, policy="immutable")
                elif path.exists():
                    artifact.add_file(str(path), skip_cache=True, policy="immutable")
            run.log_artifact(artifact)

        self._call(send)

    def finish(self, state: str = "complete") -> None:
        """End the run with the trial's state in its summary; any state but `complete` shows as failed."""
        self.catch_up()
        self._call(lambda run: run.summary.update({"state": state}))
        self._call(lambda run: run.finish(exit_code=0 if state == "complete" else 1))
        if self._run is not None and self._about["mode"] == "online" and not self._seen:
            why = _missing("/".join((self._run.entity, self._run.project, self._run.id)), self._last, state)
            if why is not None:
                self._lost = True
                self._warn(f"W&B: {why}; upload what is missing with `{self._about['sync']}`")
        self._run = None

    def describe(self) -> dict[str, Any]:
        """Mode, folder (relative to the trial's), address; and how to `sync` what is not uploaded."""
        if not self._about:
            return {}
        about = {key: value for key, value in self._about.items() if key != "sync"}
        waits = about["mode"] == "offline" or self._seen or self._lost
        return {"wandb": about} | ({"sync": self._about["sync"]} if waits else {})

    # --- starting --------------------------------------------------------------------------------------

    def _obstacle(self) -> str | None:
        """Why the run cannot go online, or None. Asks the server once, for its headers only."""
        if not self.spec.project:
            return "`mode: online` needs a project; name one under track.wandb.project"
        return obstacle()

    def _init_offline(self, wandb: ModuleType, run: RunInfo, reason: str | None) -> None:
        obstacle = self._init(wandb, run, "offline")
        if obstacle is not None:
            self._warn(f"W&B is off: {obstacle}")
        elif reason is not None:
            self._warn(f"{reason}; upload later with `{self._about['sync']}`")

    def _init(self, wandb: ModuleType, run: RunInfo, mode: str) -> str | None:
        """Start in a mode; the reason when it cannot be."""
        try:
            folder = self._folder(run)
            folder.mkdir(parents=True, exist_ok=True)
            self._run = wandb.init(
                entity=self.spec.entity, project=run.project, group=run.group, job_type=run.job_type,
                name=run.name, id=run.id, tags=run.tags, config=dict(run.config), dir=str(folder),
                resume="allow", settings=_settings(wandb, mode, self.patience),
            )  # fmt: skip
        except Exception as error:
            if not _outside(error):
                raise
            return _brief(error)
        self._about, self._info = _about(self._run, run, mode), run
        return None

    def _folder(self, run: RunInfo) -> Path:
        return run.directory if self.files is None else self.files

    # --- running ---------------------------------------------------------------------------------------

    def _call(self, verb: Callable[[Any], object]) -> None:
        if self._run is None:
            return
        try:
            verb(self._run)
        except Exception as error:
            if not _outside(error):
                raise
            self._once(error)

    def _once(self, error: Exception) -> None:
        """A dead service fails every call: each kind of error is told once."""
        if type(error) not in self._seen:
            self._seen.add(type(error))
            self._warn(f"W&B: {_brief(error)}; upload what is missing with `{self._about['sync']}`")

    def _warn(self, line: str) -> None:
        self._warnings.append(line)


def quiet() -> None:
    """Keep the SDK off the terminal; before its first use, for it reads the environment once."""
    # Its error reports to the server, on even for offline runs, hold the process at its end for 10 s when the
    # server accepts and never answers.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")


def _outside(error: Exception) -> bool:
    """Whether an error comes from the SDK, the network or the disk; any other is a bug of ours and travels.

    Not every error of the SDK derives from `wandb.Error` (a closed mailbox does not), its settings refuse
    values with pydantic's error, and those of requests are OSErrors.
    """
    return isinstance(error, (OSError, ValidationError)) or type(error).__module__.split(".")[0] == "wandb"


_QUIET_AND_LIGHT = dict(
    # Nothing on the console.
    silent=True, console="off",
    # No code, git patch, package list or machine probing: the record holds provenance already, and two
    # shared cores have no time to give away.
    save_code=False, disable_code=True, disable_git=True, disable_job_creation=True,
    x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True, x_save_requirements=False,
    symlink=False,
    # A server that is slow or gone costs seconds, not the 90 and more of the defaults.
    init_timeout=INIT_SECONDS, login_timeout=INIT_SECONDS,
    finish_timeout_raises=True,
)  # fmt: skip


def _settings(wandb: ModuleType, mode: str, patience: float) -> Any:
    """The SDK's settings; those that another version of it does not know are left out."""
    known, wanted = wandb.Settings.model_fields, {**_QUIET_AND_LIGHT, "finish_timeout": patience}
    return wandb.Settings(mode=mode, **{k: v for k, v in wanted.items() if k in known})


def _log(metrics: Mapping[str, float], step: int, run: Any) -> None:
    """Log a whole row.

    Without `commit` the SDK keeps the row back until the next one. The last would be sent after the summary
    and replace the trial's own loss, speed and memory there by those of a single row.
    """
    run.log(dict(metrics), step=step, commit=True)


def _log_where_new(metrics: Mapping[str, float], step: int, run: Any) -> None:
    """Log a row unless the run, which began at the server's last step, is beyond it."""
    if step >= run.step:
        _log(metrics, step, run)


def _log_table(path: Path, run: Any) -> None:
    """Predictions of one task as a table: seed, row, label, prediction, scores; no text of the data."""
    import pyarrow.parquet as parquet
    import wandb

    frame = parquet.read_table(path).slice(0, PREDICTIONS).to_pandas()
    run.log({f"predictions/{path.stem}": wandb.Table(dataframe=frame)})


def _newest_checkpoint(folder: Path) -> Path | None:
    steps = sorted(folder.glob("step-*"))  # the number in the name is padded
    return steps[-1] if steps else None


def _write(path: Path, manifest: Mapping[str, Any], run: Any) -> None:
    path.write_text(json.dumps(manifest, indent=1, default=str), encoding="utf-8")


def _about(handle: Any, run: RunInfo, mode: str) -> dict[str, Any]:
    about: dict[str, Any] = {"mode": mode, "id": run.id, "project": run.project, "name": run.name}
    about["directory"] = os.path.relpath(handle.settings.sync_dir, run.directory)
    # Not the SDK's own command: it sends what is there already again, and of a killed attempt nothing.
    about["sync"] = shlex.join(["ablate", "sync", os.path.relpath(run.directory.parent.parent)])
    return about | ({"url": handle.url} if mode == "online" else {})  # asking offline prints a warning


def obstacle() -> str | None:
    """Why this account's server cannot be used now, or None. Asks the server once, for its headers only."""
    found = login()
    if found.source is None:
        return f"not logged in to {found.server}; run `wandb login`"
    return _unreachable(found.server)


def _unreachable(server: str) -> str | None:
    """Why a W&B server does not answer, or None. Proxies and certificates as the SDK sees them."""
    import requests

    try:
        answer = requests.get(f"{server.rstrip('/')}/healthz", timeout=PREFLIGHT_SECONDS, stream=True)
    except OSError as error:
        return f"{server} cannot be reached ({type(error).__name__})"
    answer.close()
    return f"{server} answers {answer.status_code}" if answer.status_code >= 500 else None


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no detail'}"


def end_service() -> None:
    """End the SDK's service without waiting for what it still has to send, as at Ctrl-C.

    The interpreter's exit waits for it, for as long as the run has patience with a server that never answers.
    """
    import psutil

    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name().startswith("wandb-core"):
                child.kill()
    _teardown()


def _teardown() -> None:
    """Let go of the SDK's service. One that is dead breaks the pipe, or its exit code would become ours."""
    import wandb

    with contextlib.suppress(OSError, SystemExit):
        wandb.teardown()


def _missing(path: str, step: int, state: str) -> str | None:
    """Why the server lacks a part of an ended run ENTITY/PROJECT/ID, or None.

    When it refuses rows (a key that was revoked, a run that was deleted) the SDK stops sending, and `finish`
    tells nobody. Reading takes two answers, who we are and the run, so it ends within 2 × ASK_SECONDS.
    """
    from ablate.tracking.runs import WandbReadError, read_run

    until, left = time.monotonic() + ASK_SECONDS, ASK_SECONDS
    for wait in (0.0, 1.0, 3.0):  # what was sent last may take a moment to show
        time.sleep(wait)
        if wait and (left := until - time.monotonic()) < 1.0:
            break
        try:
            run = read_run(path, left)
        except WandbReadError as error:
            return str(error)
        if run.step >= step and run.ended == state:
            return None
    return f"the server holds the run up to step {run.step} of {step}, as {run.ended or 'not ended'}"


# --- what is online already --------------------------------------------------------------------------------

VERDICTS = ("baseline", "helps", "hurts", "equivalent", "inconclusive")
API_SECONDS = 20.0


@contextlib.contextmanager
def answered(wrong: type[ValueError]) -> Iterator[None]:
    """Errors of the SDK, of the network and of an unexpected answer become one of ours, in one line."""
    import requests

    try:
        yield
    except Exception as error:
        known = isinstance(error, (requests.RequestException, TimeoutError)) or _outside(error)
        if not known and "wandb" not in _raised_in(error):
            raise
        raise wrong(f"the W&B server did not do what was asked ({_brief(error)})") from error


def _raised_in(error: Exception) -> str:
    """The module that raised: the API's client raises ValueError and TypeError for answers it cannot read."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return str(trace.tb_frame.f_globals.get("__name__", "")) if trace is not None else ""


def default_entity() -> str | None:
    """The user or team that the login's runs go to."""
    return api().default_entity or None


def tag_runs(entity: str, project: str, study: str, verdicts: Mapping[str, str]) -> int:
    """Put verdicts (by run id) among the tags, in place of earlier ones; how many of the runs are there.

    Whatever the server refuses is raised: a run that it cannot show now is not one that it lacks.
    """
    found = api().runs(f"{entity}/{project}", filters={"group": study}, per_page=100, lazy=False)
    there = [run for run in found if run.id in verdicts]
    for run in there:
        run.tags = [*(t for t in run.tags if t not in VERDICTS), verdicts[run.id]]
        run.update()
    return len(there)


def api(seconds: float = API_SECONDS) -> Any:
    """The client that asks the server; no answer may take more than `seconds`."""
    import wandb

    quiet()
    return wandb.Api(timeout=math.ceil(seconds))
