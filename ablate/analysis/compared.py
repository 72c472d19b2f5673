"""The part of a study that is compared: without the trials that tuned nuisance knobs beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.records import FrozenStudy, Record


def compared(study: FrozenStudy, records: Sequence[Record]) -> tuple[FrozenStudy, list[Record]]:
    """Study and records without tuning trials, and without blocks that no arm was asked to run on."""
    tuning = {arm.name for arm in study.arms if arm.phase == "tune"}
    adds = bool(study.searches or study.elastic)
    if not adds:
        return study, list(records)
    trials = {t: cell for t, cell in study.trials.items() if cell[0] not in tuning}
    kept = [r for r in records if study.trials.get(r.trial, [r.arm])[0] not in tuning]
    used = 1 + max((int(block) for _, block in trials.values()), default=0)
    arms = [arm for arm in study.arms if arm.name not in tuning]
    # A study whose comparison has not begun has no trials of its own yet; an empty map would mean "any".
    return study.model_copy(update={"arms": arms, "trials": trials, "blocks": study.blocks[:used]}), kept
