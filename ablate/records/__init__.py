"""Records: what a trial leaves behind, readable in a year without a class of ours."""

from ablate.records.growth import (
    DONE,
    frozen_study,
    grow,
    grown,
    read_growth,
    read_study,
    settled,
    write_growth,
)
from ablate.records.paths import StudyPaths, TrialPaths
from ablate.records.schema import SCHEMA, FrozenArm, FrozenStudy, Growth, Record, Search, State
from ablate.records.store import Damage, load_records, read_json, write_json

__all__ = [
    "DONE", "SCHEMA",
    "Damage", "FrozenArm", "FrozenStudy", "Growth", "Record", "Search", "State", "StudyPaths",
    "TrialPaths", "frozen_study", "grow", "grown", "load_records", "read_growth", "read_json", "read_study",
    "settled", "write_growth", "write_json",
]  # fmt: skip
