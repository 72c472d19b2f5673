"""Cleaning: which stages a corpus passes through, each a knob, in the order of the fields."""

from __future__ import annotations

from ablate.data.cleaning.interface import Stage
from ablate.knobs import Config


class Cleaning(Config):
    """What is done to documents before they are tokenized; by default nothing."""

    def stages(self) -> list[Stage]:
        """The stages that are switched on, in the order in which they run."""
        return [value for key in type(self).model_fields if (value := getattr(self, key)) is not None]

    def problems(self) -> list[str]:
        """What keeps a stage from running, each with the rule, the fact and the way out."""
        return [problem for stage in self.stages() for problem in stage.problems()]

    def breaks_strict(self) -> dict[str, str]:
        """Stages that break `rules: strict`: name → why."""
        return {stage.name: stage.breaks_strict for stage in self.stages() if stage.breaks_strict}
