"""Files that a stage reads beside the corpus."""

from __future__ import annotations

import os
from pathlib import Path

from ablate.data.errors import DataError
from ablate.data.files import matching


def found(glob: str) -> list[Path]:
    """Files that a glob names, from the working directory or, failing that, below ABLATE_DATA.

    Raises DataError when there is none.
    """
    try:
        return matching(glob)
    except DataError:
        below = os.environ.get("ABLATE_DATA")
        if below is None or Path(glob).expanduser().is_absolute():
            raise
        return matching(str(Path(below, glob)))
