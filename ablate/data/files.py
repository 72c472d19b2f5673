"""Documents from files: parquet, JSON lines and plain text, also compressed; their digests and defects."""

from __future__ import annotations

import glob
import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from ablate.data.errors import DataError

FORMATS = (".parquet", ".jsonl", ".json", ".txt")
COMPRESSIONS = ("", ".gz", ".zst")


def matching(pattern: str) -> list[Path]:
    """Files that a glob names, sorted. Raises DataError when there is none."""
    paths = sorted(Path(p) for p in glob.glob(str(Path(pattern).expanduser()), recursive=True))
    # Once each: `**` follows a link that leads back to its own folder 40 times.
    found = list({p.parent.resolve() / p.name: p for p in reversed(paths) if p.is_file()}.values())[::-1]
    if not found:
        raise DataError(f"a glob of text files must match at least one; '{pattern}' matches none; correct it")
    return found


def format_of(path: Path) -> str:
    """The format behind a possible compression suffix. Raises DataError for one that cannot be read."""
    suffixes = path.suffixes
    inner = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in COMPRESSIONS[1:] else path.suffix
    if inner not in FORMATS:
        allowed = ", ".join(FORMATS)
        raise DataError(
            f"text files are {allowed}, also with .gz or .zst; {path} is none of them; convert it"
        )
    return inner


def problems(paths: Sequence[Path], column: str) -> list[str]:
    """What is wrong with files, seen from outside: absent, of a strange format, without the text column."""
    found = []
    for path in paths:
        if not path.is_file():
            found.append(f"text file {path} does not exist; create it or correct the source")
            continue
        try:
            if format_of(path) == ".parquet":
                _require_column(path, column)
        except DataError as error:
            found.append(str(error))
    return found


def _require_column(path: Path, column: str) -> None:
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(path)
        names = schema.names
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path} must be a readable parquet file; it is not ({error}); write it again"
        ) from error
    if column not in names:
        raise DataError(
            f"{path} needs the text column '{column}'; it has {', '.join(names)}; name another column"
        )
    if names.count(column) > 1:
        raise DataError(
            f"{path} needs one column '{column}'; it has {names.count(column)}; rename the others"
        )
    kind = schema.field(column).type
    kinds = pyarrow.types
    kind = kind.value_type if kinds.is_dictionary(kind) else kind
    if not (kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)):
        raise DataError(f"{path} needs text in the column '{column}'; it holds {kind}; name another column")


def read(paths: Sequence[Path], column: str) -> Iterator[str]:
    """Every document of the files, in order; in plain text a blank line ends a document.

    Raises DataError for a file that is absent, torn, not UTF-8, or without the column.
    """
    for path in paths:
        if not path.is_file():
            raise DataError(f"text file {path} does not exist; create it or correct the source")
        yield from _told(path, column)


def _told(path: Path, column: str) -> Iterator[str]:
    """The documents of one file; what the readers raise, in words."""
    readers = {".parquet": _parquet, ".jsonl": _json_lines, ".json": _json_lines, ".txt": _plain}
    reader, number = readers[format_of(path)], 0
    try:
        for number, text in enumerate(reader(path, column), start=1):  # noqa: B007
            yield text
    except UnicodeDecodeError as error:
        raise DataError(
            f"text files must be UTF-8; {path} is not, some way after its document {number} ({error.reason}: "
            f"{error.object[error.start : error.start + 4]!r}); convert it: iconv -f ENCODING -t UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error) as error:  # pyarrow's errors of torn files are OSErrors
        raise DataError(
            f"{path} must be readable to its end; it is not, after its document {number} ({error}); "
            "copy or write it again"
        ) from error


def _parquet(path: Path, column: str) -> Iterator[str]:
    import pyarrow.parquet

    _require_column(path, column)
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1024, columns=[column]):
            yield from (text or "" for text in batch.column(0).to_pylist())


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    if path.suffix == ".zst":
        import pyarrow

        stream = pyarrow.input_stream(str(path), compression="zstd")
        return io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8")
    return open(path, encoding="utf-8")


def _json_lines(path: Path, column: str) -> Iterator[str]:
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield text_of(json.loads(line)[column])
            # ValueError: a number of more than 4,300 digits; RecursionError: brackets nested too deeply.
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise DataError(
                    f"{path}:{number} must be a JSON object with the field '{column}'; "
                    f"it is not ({type(error).__name__}: {error}); correct the line or the column"
                ) from error


def text_of(value: object) -> str:
    """The value of a text field; none is an empty document. Raises TypeError."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"it holds a {type(value).__name__}, no text")
    return value or ""


def _plain(path: Path, column: str) -> Iterator[str]:
    block: list[str] = []
    with _open(path) as file:
        for line in file:
            if line.strip():
                block.append(line)
            elif block:
                yield "".join(block).strip()
                block = []
    if block:
        yield "".join(block).strip()


# Up to this size a file is hashed whole (sha256 does about 1 GB/s); above it 64 evenly spaced blocks of
# 1 MiB, the size and the time of the last change stand for it.
WHOLE = 256 * 2**20


def digest(path: Path) -> dict[str, str | int]:
    """What a cache is keyed by: name, size and content of a file. Raises DataError when it is absent."""
    if not path.is_file():
        raise DataError(f"text file {path} does not exist; create it or correct the source")
    size = path.stat().st_size
    hasher = hashlib.sha256()
    with open(path, "rb") as file:
        if size <= WHOLE:
            hasher = hashlib.file_digest(file, "sha256")
        else:
            hasher.update(str(path.stat().st_mtime_ns).encode())
            for block in range(64):
                file.seek(block * (size - 2**20) // 63)
                hasher.update(file.read(2**20))
    return {"file": path.name, "bytes": size, "sha256": hasher.hexdigest()}


def size_in_words(size: float) -> str:
    """`59.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def licence_in(readme: Path, name: str) -> str:
    """The licence that a table in a data folder's README gives for a corpus; "unknown" without one.

    Looks for a Markdown table with a column `licence` (or `license`) and a row that begins with the name.
    """
    if not readme.is_file():
        return "unknown"
    column = None
    for line in readme.read_text(encoding="utf-8", errors="replace").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        heads = [i for i, cell in enumerate(cells) if re.fullmatch("licen[cs]e", cell.lower())]
        column = heads[0] if heads else column
        if column is not None and cells[0] == name and column < len(cells):
            return cells[column]
    return "unknown"
