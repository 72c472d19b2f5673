"""The page as a file, and as it is served."""

import json
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from runfolders import make_study

from ablate.dashboards import Dashboard, Panel, Section
from ablate.dashboards.page import write_page
from ablate.dashboards.server import PortError, Server, serving
from ablate.records.store import RecordError


def embedded(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="state">(.*?)</script>', page, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def get(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_snapshot_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    page = write_page(make_study(tmp_path)).read_text()
    assert not re.findall(r"<(?:script|img|iframe)[^>]+src=|<link[^>]+href=\"(?!data:)", page)
    assert "window.ABLATE_LIVE = false" in page


def test_names_of_the_study_are_escaped(tmp_path: Path) -> None:
    page = write_page(make_study(tmp_path)).read_text()
    assert "Do positions &lt;matter&gt;?" in page
    assert "<b>rope" not in page
    assert embedded(page)["study"]["arms"] == ["baseline", "<b>rope"]  # type: ignore[index]


def test_a_definition_of_ones_own_is_rendered(tmp_path: Path) -> None:
    board = Dashboard("Mine", (Section("One", "What?", (Panel("bar", "CoLA", "glue/cola"),)),))
    page = write_page(make_study(tmp_path), board).read_text()
    assert "<title>Mine</title>" in page
    (section,) = embedded(page)["sections"]  # type: ignore[misc]
    assert [panel["title"] for panel in section["panels"]] == ["CoLA"]


def test_the_default_page_shows_what_was_recorded(tmp_path: Path) -> None:
    sections = embedded(write_page(make_study(tmp_path)).read_text())["sections"]
    metrics = {panel["metric"] for section in sections for panel in section["panels"]}  # type: ignore[attr-defined]
    assert {"glue/average", "glue/cola", "pretrain/loss"} <= metrics


def test_a_folder_without_a_study_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"study\.json"):
        write_page(tmp_path)


def test_the_server_is_on_loopback_and_gives_page_state_and_figures(tmp_path: Path) -> None:
    with serving(make_study(tmp_path, finished=2), port=None) as url:
        assert url.startswith("http://127.0.0.1:")
        code, page = get(url)
        assert (code, "window.ABLATE_LIVE = true" in page) == (200, True)
        state = json.loads(get(f"{url}state.json")[1])
        assert state["progress"]["done"] == 2
        again = json.loads(get(f"{url}state.json?session={state['session']}&after={state['version']}")[1])
        assert again["curves"] == {}
        assert "Plotly" in get(f"{url}plotly.js")[1]


def test_the_server_reads_no_other_file_and_takes_no_orders(tmp_path: Path) -> None:
    with serving(make_study(tmp_path)) as url:
        assert get(f"{url}../study.json")[0] == 404
        assert get(f"{url}trials/t0/record.json")[0] == 404
        request = urllib.request.Request(url, data=b"x", method="POST")
        with pytest.raises(urllib.error.HTTPError, match="501"):
            urllib.request.urlopen(request, timeout=20)


def test_a_page_of_another_site_cannot_read_the_study_through_a_name_of_its_own(tmp_path: Path) -> None:
    with serving(make_study(tmp_path)) as url:
        assert get(f"{url}state.json", Host="evil.example:80")[0] == 403


def test_a_study_folder_that_vanishes_is_told_and_the_server_lives(tmp_path: Path) -> None:
    root = make_study(tmp_path / "s")
    with serving(root) as url:
        root.joinpath("study.json").unlink()
        for place in ("state.json", ""):
            code, body = get(url + place)
            assert code == 503
            assert "study.json" in body
        assert get(f"{url}plotly.js")[0] == 200


def test_a_port_that_is_taken_is_told_when_it_was_asked_for(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(PortError, match="--port"):
            Server(make_study(tmp_path), other.getsockname()[1])
