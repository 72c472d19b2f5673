"""Checkpoints without pickle: tensors as safetensors, the rest as JSON, torn ones seen by their digest.

    checkpoint/step-000001200/           {model,optimizer,tensors}.safetensors, state.json (the last two)
    checkpoint/step-000001500-finished/  {model,tensors}.safetensors, state.json (pretraining is over)
    checkpoint/tokenizer.json
    checkpoint/attempts.json

A checkpoint is written to a temporary folder, fsynced and renamed, so that a name means a whole one. A disk
that lies about fsync can still tear it: the digests in `state.json` show that, and the one before is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from ablate.records.store import Damage, sync, write_json

KEEP = 2
TOKENIZER = "tokenizer.json"
FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be used, or could not be written; the message says which and why."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read back and found whole."""

    path: Path
    model: dict[str, Tensor]
    optimizer: dict[str, Any] | None  # None in a finished one
    state: dict[str, Any]
    tensors: dict[str, Tensor]  # random number generators and losses

    @property
    def finished(self) -> bool:
        """Whether pretraining is over and only evaluation is left."""
        return bool(self.state["finished"])


# --- tensors and plain data --------------------------------------------------------------------------


def split(value: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """Plain JSON for a nested value; every tensor in it goes to `tensors`, leaving its name."""
    if is_traceable_wrapper_subclass(value):  # torchao's few-bit state: plain tensors and a few settings
        names, settings = value.__tensor_flatten__()
        return {
            "packed": {
                "class": f"{type(value).__module__}:{type(value).__qualname__}",
                "parts": {n: split(getattr(value, n), tensors, f"{name}.{n}") for n in names},
                "settings": split(settings, tensors, f"{name}.settings"),
            }
        }
    if isinstance(value, Tensor):
        # A clone: safetensors refuses tensors that share memory, and saves only contiguous ones.
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {
            "items": [[k, split(v, tensors, f"{name}.{k}" if name else str(k))] for k, v in value.items()]
        }
    if isinstance(value, (list, tuple)):
        inner = [split(v, tensors, f"{name}.{i}") for i, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": inner}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    raise TypeError(f"a checkpoint holds tensors and plain values; '{name}' is a {type(value).__name__}")


def join(plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `split`."""
    ((what, content),) = plain.items()
    if what == "tensor":
        return tensors[content]
    if what == "dtype":
        return getattr(torch, content)
    if what == "packed":
        parts = {name: join(part, tensors) for name, part in content["parts"].items()}
        settings = join(content["settings"], tensors)
        return _packing(content["class"]).__tensor_unflatten__(parts, settings, None, None)
    if what == "items":
        return {k: join(v, tensors) for k, v in content}
    if what in ("list", "tuple"):
        inner = [join(v, tensors) for v in content]
        return inner if what == "list" else tuple(inner)
    return content


def _packing(name: str) -> Any:
    """A tensor class of torchao; nothing else may be named by a file."""
    module, _, kind = name.partition(":")
    if module.split(".")[0] != "torchao":
        raise TypeError(f"a checkpoint names the tensor class {name}, which is not torchao's")
    return getattr(importlib.import_module(module), kind)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and saved buffers by name, each shared one once."""
    saved = model.state_dict(keep_vars=True)
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in saved.items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor.detach()
    return found


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy saved weights into a model of the same shape. Raises CheckpointError when they do not fit."""
    own = weights(model)
    if own.keys() != tensors.keys():
        odd = sorted(own.keys() ^ tensors.keys())
        raise CheckpointError(f"the checkpoint is of another model: {', '.join(odd[:5])} on one side only")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise CheckpointError(
                f"the checkpoint is of another model: {name} is {tuple(tensors[name].shape)}, not"
                f" {tuple(tensor.shape)}"
            )
        tensor.copy_(tensors[name])


# --- writing -----------------------------------------------------------------------------------------


def save(
    folder: Path,
    *,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    state: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    finished: bool = False,
) -> Path:
    """Write `folder/step-<step>` durably, then drop all but the newest `KEEP`.

    Raises CheckpointError when it cannot be written (disk full, no permission); older ones stay untouched.
    """
    temporary = folder / f".writing-{os.getpid()}"
    target = folder / f"step-{step:09d}{'-finished' if finished else ''}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file({k: v.contiguous() for k, v in weights(model).items()}, temporary / "model.safetensors")
        moments: dict[str, Tensor] = {}
        plain = None if optimizer is None else split(optimizer.state_dict(), moments)
        if moments:
            save_file(moments, temporary / "optimizer.safetensors")
        save_file(dict(tensors), temporary / "tensors.safetensors")
        digests = {file.name: _sync(file) for file in sorted(temporary.glob("*.safetensors"))}
        write_json(
            temporary / "state.json",
            {
                "format": FORMAT,
                "step": step,
                "finished": finished,
                "files": digests,
                "optimizer": plain,
                **state,
            },
        )
        if target.exists():  # the same step again, after a resume from before it
            shutil.rmtree(target)
        os.rename(temporary, target)
        sync(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"the checkpoint of step {step} could not be written to {folder}: {error}"
        ) from error
    prune(folder)
    return target


def prune(folder: Path, keep: int = KEEP) -> None:
    """Drop all but the newest `keep` checkpoints, what a killed writer left, and what was found torn."""
    for old in [*_newest_first(folder)[keep:], *folder.glob(".writing-*"), *folder.glob("torn-*")]:
        shutil.rmtree(old, ignore_errors=True)


def set_aside(torn: list[Damage]) -> None:
    """Rename torn checkpoints, so that they neither count as good ones nor are tried again."""
    for damage in torn:
        with contextlib.suppress(OSError):
            os.replace(damage.path, damage.path.with_name(f"torn-{damage.path.name}"))


def _sync(file: Path) -> str:
    """Force a file to the disk; its digest."""
    with open(file, "rb") as opened:
        os.fsync(opened.fileno())
        return hashlib.file_digest(opened, "sha256").hexdigest()


# --- reading -----------------------------------------------------------------------------------------


def read(path: Path) -> Checkpoint:
    """One checkpoint. Raises CheckpointError when it is torn, foreign or unreadable."""
    try:
        state = json.loads((path / "state.json").read_text())
        if state["format"] > FORMAT:
            raise CheckpointError(f"{path} was written by a newer ablate (format {state['format']})")
        for name, digest in state["files"].items():
            with open(path / name, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    raise CheckpointError(
                        f"{path / name} is damaged: its digest is not the one that was written"
                    )
        loaded = {name.removesuffix(".safetensors"): load_file(path / name) for name in state["files"]}
        plain = state.pop("optimizer")
        optimizer = None if plain is None else join(plain, loaded.get("optimizer", {}))
        return Checkpoint(path, loaded["model"], optimizer, state, loaded["tensors"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def newest(folder: Path) -> tuple[Checkpoint | None, list[Damage]]:
    """The newest whole checkpoint below a folder, or None; and every newer one that is torn."""
    torn: list[Damage] = []
    for path in _newest_first(folder):
        try:
            return read(path), torn
        except CheckpointError as error:
            torn.append(Damage(path, str(error)))
    return None, torn


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)
