"""Earlier negative results are found in folders and git repositories, by knob and level."""

import json
import subprocess
import sys

import pytest

from ablate.elsewhere import RunsError
from ablate.elsewhere.known import _clone, known, text
from ablate.report import write_report
from tests.analysis import synthetic


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    frozen = synthetic.study()
    synthetic.write(root / "one", frozen, synthetic.records(frozen), curves=False)
    write_report(root / "one")
    (root / "torn").mkdir()
    (root / "torn" / "negative-results.json").write_text("{")
    return root


def test_a_level_is_found_with_its_verdict_and_setting(folder):
    found = known("model.position=none", str(folder))
    assert [k.verdict for k in found.found] == ["hurts"]
    assert found.found[0].difference == ("model.position: scaled-sinusoidal → none",)
    assert found.found[0].budget == "90s"
    assert "hurts by" in text(found)


def test_the_end_of_a_path_and_a_knob_alone_are_enough(folder):
    assert len(known("position=none", str(folder)).found) == 1
    assert len(known("position", str(folder)).found) == 1
    assert known("position=alibi", str(folder)).found == ()
    for part in ("osition=none", "position=non"):
        with pytest.raises(RunsError, match="did you mean"):
            known(part, str(folder))


def test_what_helps_or_is_open_is_not_known_as_negative(folder):
    found = known("model.position=rope", str(folder))
    assert found.found == ()
    assert "Nothing known" in text(found)


def test_a_torn_file_is_named_and_the_others_are_read(folder):
    found = known("position", str(folder))
    assert found.files == 2
    assert "torn/negative-results.json" in found.problems[0]


@pytest.mark.parametrize("bare", [False, True])
def test_a_git_repository_is_searched(folder, tmp_path, bare):
    work = tmp_path / "work"
    work.mkdir()
    results = json.loads((folder / "one" / "report" / "negative-results.json").read_text())
    (work / "negative-results.json").write_text(json.dumps(results))
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "results"]):
        subprocess.run(["git", "-C", str(work), *command], check=True)
    place = str(work)
    if bare:
        place = str(tmp_path / "bare.git")
        subprocess.run(["git", "clone", "-q", "--bare", str(work), place], check=True)
    assert len(known("position=none", place if bare else f"file://{work}").found) == 1


def test_places_that_are_nothing_are_refused(tmp_path):
    with pytest.raises(RunsError, match="neither a folder"):
        known("a=b", str(tmp_path / "missing"))
    with pytest.raises(RunsError, match="cannot be cloned"):
        known("a=b", f"file://{tmp_path}/none.git")
    with pytest.raises(RunsError, match="say what to look for"):
        known("=b", str(tmp_path))
    with pytest.raises(RunsError) as error:
        known("a=b", f"file://{tmp_path}/none.git")
    assert "does not appear to be a git repository; check the address" in str(error.value)


def results(tmp_path, **arms):
    """A file of negative results: arm → {knob: level}."""
    entries = [
        {"arm": arm, "verdict": "hurts", "headline": f"{arm} hurts",
         "difference": [[k, "", str(v)] for k, v in knobs.items()],
         "levels": {k: [None, v] for k, v in knobs.items()}}
        for arm, knobs in arms.items()
    ]  # fmt: skip
    (tmp_path / "negative-results.json").write_text(json.dumps({"study": "s", "results": entries}))
    return str(tmp_path)


DSIR = {"kind": "dsir", "target": "reviews/train.parquet", "keep": 0.25}


@pytest.mark.parametrize(
    ("query", "knob", "level"),
    [
        ("train.lr=4e-3", "train.lr", 0.004),
        ("lr=0.0040", "train.lr", 0.004),
        ("lr=1.2345678e-3", "train.lr", 0.0012345678),
        ("weight_decay=0.0", "train.weight_decay", 0),
        ("bias=True", "model.bias", True),
        ("resample=none", "data.cleaning.resample", None),
        ("resample=dsir", "data.cleaning.resample", DSIR),
        ("resample=dsir(keep=.25, target=reviews/train.parquet)", "data.cleaning.resample", DSIR),
        ("resample=DSIR(keep=25e-2)", "data.cleaning.resample", DSIR),
        ("resample.keep=.25", "data.cleaning.resample", DSIR),
        ("data.cleaning.resample[dsir].keep=.25", "data.cleaning.resample", DSIR),
        ("position=rope(theta=1e4)", "model.position", {"kind": "rope"}),  # what is left out is the default
        ("model.position.theta=10000", "model.position", {"kind": "rope"}),
        ("theta=1e4", "model.position", {"kind": "rope"}),
        ("budget=0", "budget", "0 steps"),
        ("budget=60m", "budget", "1h"),
        ("layers=12,24", "other.layers", [12, 24.0]),
    ],
)
def test_levels_are_compared_by_value(tmp_path, query, knob, level):
    place = results(tmp_path, arm={knob: level})
    assert len(known(query, place).found) == 1
    text = json.loads((tmp_path / "negative-results.json").read_text())
    for entry in text["results"]:
        entry.pop("levels")
        shown = {"dsir": "dsir(target=reviews/train.parquet, keep=0.25)", "rope": "rope"}
        plain = shown[level["kind"]] if isinstance(level, dict) else "none" if level is None else str(level)
        entry["difference"] = [[knob, "", plain.strip("[]")]]
    (tmp_path / "negative-results.json").write_text(json.dumps(text))
    assert len(known(query, place).found) == 1, "as other programs may write it, text alone"


@pytest.mark.parametrize(
    "query", ["lr=0.0041", "lr=none", "resample=dsir(keep=.3)", "resample=dsir(nothing=1)", "bias=false",
              "position.theta=5000", "position.theta=none"]
)  # fmt: skip
def test_another_value_does_not_match(tmp_path, query):
    place = results(
        tmp_path, a={"train.lr": 0.004}, b={"data.cleaning.resample": DSIR}, c={"model.bias": True},
        d={"model.position": {"kind": "rope"}},
    )  # fmt: skip
    assert known(query, place).found == ()


@pytest.mark.parametrize(
    ("query", "near"),
    [("modle.position=none", "model.position"), ("positon", "position"), ("model.lr=1", "finetune.lr' or 'train.lr"),
     ("position=nonee", "none"), ("arm=bda", "bad")],
)  # fmt: skip
def test_a_name_that_does_not_exist_is_told_with_the_nearest(tmp_path, query, near):
    with pytest.raises(RunsError, match=f"did you mean '{near}'"):
        known(query, results(tmp_path, bad={}))


def test_a_knob_of_another_program_counts_where_the_files_have_it(tmp_path):
    place = results(tmp_path, a={"optimizer.beta3": 0.9, "model.position": "mine"})
    assert len(known("beta3=.9", place).found) == 1
    assert known("beta3=.8", place).found == ()
    assert known("position=yours", place).found == ()
    with pytest.raises(RunsError, match=r"no knob 'beta4'.*did you mean 'beta3'"):
        known("beta4=.9", place)


@pytest.mark.parametrize("query", ["bad", "arm=bad", "arm=Bad"])
def test_an_arm_is_found_by_its_name(tmp_path, query):
    found = known(query, results(tmp_path, bad={}, worse={}))
    assert [k.arm for k in found.found] == ["bad"]
    assert "what the arm changes was not recorded" in text(found)
    assert "1 of 2 negative results in 1 file." in text(found)


def test_a_slip_ends_with_2_and_no_torch(tmp_path):
    code = (
        "import sys; from ablate.elsewhere.known import known, RunsError\n"
        f"try: known('modle.position=none', {results(tmp_path)!r})\n"
        "except RunsError: sys.exit(3 if 'torch' in sys.modules else 2)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 2


@pytest.mark.parametrize("query", ["lr=0.001..0.01", "lr=4e-3,5e-3", "lr=0.4%", "lr=nan", "train.batch=abc"])
def test_what_no_number_can_be_is_refused_and_not_called_unknown(tmp_path, query):
    with pytest.raises(RunsError, match="has no level '.*It has a number, none"):
        known(query, results(tmp_path, a={"train.lr": 0.004, "train.batch": 128}))


def test_two_knobs_at_once_are_shown_as_they_were_asked(tmp_path):
    with pytest.raises(RunsError, match="model.norm has no level 'rmsnorm, train.lr=0.004'"):
        known("model.norm=rmsnorm,train.lr=0.004", results(tmp_path, a={}))


@pytest.mark.parametrize(
    ("content", "told"),
    [('{"results": [{"arm": "a", "difference": [], "levels": {"train.lr": []}}]}', "IndexError"),
     ("[" * 100_000 + "]" * 100_000, "RecursionError"), ('{"schema": 2, "results": []}', "schema 2, this ablate"),
     ("", "JSONDecodeError"), ("null", "AttributeError")],
)  # fmt: skip
def test_a_damaged_or_newer_file_is_told_in_a_line(tmp_path, content, told):
    path = tmp_path / "negative-results.json"
    path.write_text(content)
    for place in (tmp_path, path):
        with pytest.raises(RunsError, match="nothing could be read") as error:
            known("lr", str(place))
        assert f"{path} is not a file of negative results: " in str(error.value)
        assert told in str(error.value)
    (tmp_path / "more").mkdir()
    results(tmp_path / "more", a={"train.lr": 0.004})
    found = known("lr=.004", str(tmp_path))
    assert (len(found.found), len(found.problems)) == (1, 1)


def test_a_byte_order_mark_is_no_damage(tmp_path):
    place = results(tmp_path, a={"train.lr": 0.004})
    path = tmp_path / "negative-results.json"
    path.write_text("\ufeff" + path.read_text())
    assert len(known("lr", place).found) == 1


def git(folder, *command):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, "-C", str(folder), *command], check=True, capture_output=True)


def test_where_there_is_no_file_nothing_is_said_to_be_unknown(tmp_path):
    with pytest.raises(RunsError, match="there is no negative-results.json in"):
        known("lr", str(tmp_path))
    git(tmp_path, "init", "-q")
    with pytest.raises(RunsError, match="there is no negative-results.json in file://"):
        known("lr", f"file://{tmp_path}")  # nothing was ever committed
    (tmp_path / "large.bin").write_bytes(b"0" * 1000)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "other")
    with pytest.raises(RunsError, match="there is no negative-results.json in file://"):
        known("lr", f"file://{tmp_path}")


def test_the_files_alone_are_checked_out_of_a_repository(tmp_path, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    results(tmp_path / "deep" / "er", a={"train.lr": 0.004})
    (tmp_path / "large.bin").write_bytes(b"0" * 1000)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        git(tmp_path, *command)
    _clone(f"file://{tmp_path}", str(tmp_path / "copy"))
    there = {str(p.relative_to(tmp_path / "copy")) for p in (tmp_path / "copy").rglob("*") if p.is_file()}
    assert {p for p in there if not p.startswith(".git/")} == {"deep/er/negative-results.json"}


@pytest.mark.parametrize("place", ["me@127.0.0.1:results", "ssh://127.0.0.1:1/results"])
def test_an_address_of_ssh_is_one(place, monkeypatch):
    monkeypatch.setenv("GIT_SSH_COMMAND", "false")
    with pytest.raises(RunsError, match="cannot be cloned"):
        known("lr", place)


def test_an_address_without_its_scheme_says_what_one_looks_like():
    with pytest.raises(RunsError, match="such as https://HOST/REPOSITORY or user@HOST"):
        known("lr", "github.com/owner/repository")
