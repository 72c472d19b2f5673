"""The texts that models are evaluated on, task by task, for finding them in a training corpus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ablate.data.errors import DataError
from ablate.data.files import digest

if TYPE_CHECKING:
    from ablate.evaluation.sources import Split

Splits = Literal["validation", "validation+test", "all"]


@dataclass(frozen=True)
class TextSet:
    """One split of one task: its name in reports, where its rows are, its text columns (none: all)."""

    name: str  # qnli/validation
    rows: Split
    columns: tuple[str, ...] = ()

    def texts(self) -> list[tuple[str, ...]]:
        """The texts of every example. Raises DataError."""
        from ablate.evaluation.sources import TaskError

        try:
            columns = self.columns or tuple(self.rows.columns() or ())
            frame = self.rows.read(columns)
        except TaskError as error:
            raise DataError(f"decontamination reads the evaluation task '{self.name}': {error}") from error
        kept = [name for name in columns if all(isinstance(value, str) for value in frame[name].head(100))]
        if not kept:
            raise DataError(
                f"decontamination needs a column of text in {self.name}; {', '.join(columns)} hold none; "
                "correct data.cleaning.decontaminate.files"
            )
        return list(frame[kept].astype(str).itertuples(index=False, name=None))

    def fingerprint(self) -> dict[str, Any]:
        """What a cache is keyed by."""
        from ablate.evaluation.sources import FileSplit

        if isinstance(self.rows, FileSplit):
            return {"set": self.name, "columns": self.columns, **digest(self.rows.path)}
        return {"set": self.name, "columns": self.columns, "rows": repr(self.rows)}


def text_sets(tasks: tuple[str, ...] | None, files: tuple[str, ...], splits: Splits) -> list[TextSet]:
    """The splits of the named tasks (none named: of all GLUE tasks) that are there, and the given files.

    Raises DataError for an unknown task, one without any split, and a file that does not exist.
    """
    from ablate.data.grammar import TASKS as GRAMMAR
    from ablate.evaluation.glue import KNOWN

    asked = KNOWN if tasks is None else tasks
    found: list[TextSet] = []
    for name in asked:
        sets = list(
            _glue(name, splits) if name in KNOWN else _grammar(name, splits) if name in GRAMMAR else ()
        )
        if name not in KNOWN and name not in GRAMMAR:
            raise DataError(
                f"decontamination knows the tasks {', '.join([*KNOWN, *GRAMMAR])}; it was given '{name}'; "
                "correct the name, or give the task's files in data.cleaning.decontaminate.files"
            )
        if not sets and tasks is not None:
            raise DataError(
                f"decontamination needs a split of '{name}' below $ABLATE_DATA/glue/{name}; there is none; "
                "put it there, or leave the task out"
            )
        found += sets
    found += [_file(path) for path in files]
    if not found:
        raise DataError(
            "decontamination needs evaluation texts; there are none below $ABLATE_DATA/glue; "
            "put them there, or name files in data.cleaning.decontaminate.files"
        )
    return found


def _glue(name: str, splits: Splits) -> Iterator[TextSet]:
    from ablate.evaluation.glue import AX, GLUE, results
    from ablate.evaluation.sources import FileSplit
    from ablate.evaluation.tasks import glue_split

    task = GLUE["mnli" if name == AX else name]
    validation = ["test"] if name == AX else [split for _, split in results(name)]
    test = [] if name == AX else [split.replace("validation", "test") for split in validation]
    names = {
        "validation": validation,
        "validation+test": validation + test,
        "all": ["train", *validation, *test],
    }
    for split in names[splits]:
        rows = glue_split(name, split)
        if not isinstance(rows, FileSplit) or rows.path.is_file():
            yield TextSet(f"{name}/{split}", rows, task.text)


def _grammar(name: str, splits: Splits) -> Iterator[TextSet]:
    from ablate.data.grammar import TASKS
    from ablate.evaluation.sources import GrammarSplit

    for split in ("train", "validation") if splits == "all" else ("validation",):
        yield TextSet(f"{name}/{split}", GrammarSplit(name, split, 0), TASKS[name].columns)


def _file(text: str) -> TextSet:
    from ablate.evaluation.sources import SUFFIXES, FileSplit, user_file

    path: Path = user_file(text)
    if not path.is_file() or path.suffix not in SUFFIXES:
        raise DataError(
            f"decontamination reads files of {', '.join(SUFFIXES)}; {path} is none; correct "
            "data.cleaning.decontaminate.files"
        )
    return TextSet(text, FileSplit(path))
