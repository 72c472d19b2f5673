"""Designs: a study turned into arms and blocks, as values. No clock, no disk, nothing started."""

from ablate.design.arms import Arm, arms, cautions
from ablate.design.freeze import freeze, identity, revise

__all__ = ["Arm", "arms", "cautions", "freeze", "identity", "revise"]
