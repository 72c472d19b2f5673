"""Designs: a study turned into arms and blocks, as values. No clock, no disk, nothing started."""

from ablate.design.arms import arms, cautions
from ablate.design.freeze import freeze, identity
from ablate.design.revise import regrow, revise
from ablate.design.values import Arm

__all__ = ["Arm", "arms", "cautions", "freeze", "identity", "regrow", "revise"]
