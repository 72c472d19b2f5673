"""Dashboards as code: one definition, two renderers (W&B workspace and report, live local page).

The folder is top level in the repository and the package `ablate.dashboards` once installed.
"""

from .definition import Dashboard, Panel, Section, default

__all__ = ["Dashboard", "Panel", "Section", "default"]
