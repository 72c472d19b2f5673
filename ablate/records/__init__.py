"""Records: what a trial leaves behind, readable in a year without a class of ours."""

from ablate.records.paths import StudyPaths, TrialPaths
from ablate.records.schema import SCHEMA, FrozenArm, FrozenStudy, Record, State
from ablate.records.store import Damage, load_records, read_json, read_study, write_json

__all__ = [
    "SCHEMA", "Damage", "FrozenArm", "FrozenStudy", "Record", "State", "StudyPaths", "TrialPaths",
    "load_records", "read_json", "read_study", "write_json",
]  # fmt: skip
