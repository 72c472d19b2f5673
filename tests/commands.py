"""The `ablate` command in this process: what `python -m ablate` says and ends with, without seconds of imports."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from ablate.cli import main


@dataclass(frozen=True)
class Done:
    """Of `subprocess.CompletedProcess` what is asked."""

    returncode: int
    stdout: str
    stderr: str


def ablate(*arguments: object, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> Done:
    """Run a command to its end; `environment` is in addition to what there is."""
    out, err, code, collector = io.StringIO(), io.StringIO(), 0, gc.get_threshold()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["ablate", *map(str, arguments)])
        for name, value in {"COLUMNS": "200", **(environment or {})}.items():
            patch.setenv(name, value)
        if cwd is not None:
            patch.chdir(cwd)
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            gc.set_threshold(*collector)
    return Done(code, out.getvalue(), err.getvalue())
