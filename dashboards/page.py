"""The local page: one template for the served page, which asks for news, and for a file of one moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ablate.records import StudyPaths
from ablate.records.store import write_bytes

from .definition import Dashboard
from .state import Watcher


def live_page(state: Mapping[str, Any]) -> str:
    """The page as it is served: with a first state in it, and news from the server that it came from."""
    return _render(state, plotly=None)


def write_page(root: Path, dashboard: Dashboard | None = None) -> Path:
    """Write `report/dashboard.html`, a file that shows this moment without any server. Raises RecordError."""
    state = Watcher(root, dashboard).state()
    path = StudyPaths(root).report / "dashboard.html"
    write_bytes(path, _render(state, plotly=plotly_js()).encode())
    return path


def plotly_js() -> str:
    """Plotly's program text, as it comes with the Python package: nothing is loaded from a network."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _render(state: Mapping[str, Any], *, plotly: str | None) -> str:
    # The report's own stylesheet comes first: the two pages look alike because they share it.
    loader = ChoiceLoader([PackageLoader("ablate.dashboards"), PackageLoader("ablate.report")])
    env = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return env.get_template("live.html.j2").render(
        state=state,
        state_json=Markup(json.dumps(state, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")),
        plotly=None if plotly is None else Markup(plotly.replace("</script", "<\\/script")),
    )
