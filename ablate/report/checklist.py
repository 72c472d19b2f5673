"""What records can answer of the reproducibility checklists of ACL (Responsible NLP Research) and NeurIPS.

Items are named by their number and paraphrased; what no record knows is listed as the authors' own to answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ablate.analysis.findings import Findings
from ablate.report import numbers, origin, tables
from ablate.report.negative import reproduce

VENUES = ("acl", "neurips")


@dataclass(frozen=True)
class Item:
    """One item: whether the records answer it, and with what."""

    venue: str
    number: str
    asks: str
    answer: str  # yes, partly, no
    text: str


def checklist(found: Findings, frozen: Mapping[str, Any], venue: str = "") -> list[Item]:
    """The items that a study's records answer. Raises ValueError for an unknown venue."""
    if venue and venue not in VENUES:
        raise ValueError(f"a checklist is known for {', '.join(VENUES)}; got {venue!r}")
    facts = _facts(found, frozen)
    items = [
        Item("acl", "B6", "statistics of the data used", *facts["data"]),
        Item("acl", "C1", "parameters, total budget and infrastructure", *facts["compute"]),
        Item("acl", "C2", "experimental setup, hyperparameters and how they were found", *facts["setup"]),
        Item("acl", "C3", "descriptive statistics: error bars, what a number sums up", *facts["statistics"]),
        Item("acl", "C4", "packages, their versions and settings", *facts["packages"]),
        Item("neurips", "1", "do the claims match the results", *facts["claims"]),
        Item("neurips", "4", "what is needed to reproduce the results", *facts["reproduce"]),
        Item("neurips", "5", "open access to data and code", *facts["access"]),
        Item("neurips", "6", "settings and details of the experiments", *facts["setup"]),
        Item("neurips", "7", "statistical significance", *facts["statistics"]),
        Item("neurips", "8", "compute resources, failed and preliminary runs included", *facts["compute"]),
        Item("neurips", "12", "licences of the assets used", *facts["licence"]),
    ]
    return [item for item in items if venue in ("", item.venue)]


LEFT = {
    "acl": "A1 limitations, A2 risks, B1–B5 artifacts and their terms, D human subjects, E AI assistants",
    "neurips": "2 limitations, 3 theory, 9 ethics, 10 broader impacts, 11 safeguards, 13 new assets, "
    "14–15 human subjects, 16 use of language models",
}


def _facts(found: Findings, frozen: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """answer and text of everything that is asked."""
    return {
        "data": _data(found),
        "compute": _compute(found),
        "setup": _setup(found, frozen),
        "statistics": _statistics(found),
        "packages": _packages(found),
        "claims": _claims(found),
        "reproduce": _reproduce(found, frozen),
        "access": _access(found),
        "licence": _licence(frozen),
    }


def _claims(found: Findings) -> tuple[str, str]:
    known = any(c.effect.estimate is not None for c in found.contrasts.values())
    text = f"The records bear out: {found.answer} Whether the paper claims more is yours to say."
    return ("partly", text) if known else ("no", found.answer)


def _data(found: Findings) -> tuple[str, str]:
    sources = [f"{name} ({n} trials)" for name, n in found.provenance.data.items()]
    known = [name for name in found.provenance.data if name != "not recorded"]
    text = (
        f"Training data by fingerprint: {'; '.join(sources)}. " if known else "No fingerprint was recorded. "
    )
    return ("yes" if known else "no", f"{text}{_mean_tokens(found)}")


def _mean_tokens(found: Findings) -> str:
    seen = [t.tokens for arm in found.arms for t in arm.trials if t.state == "complete"]
    known = [n for n in seen if n] if found.imported else seen
    if not known:
        return "How many tokens a trial saw was not recorded."
    some = f" ({len(known)} of {len(seen)} trials recorded it)" if len(known) < len(seen) else ""
    return f"Each trial saw {numbers.quantity(sum(known) / len(known))} tokens on average{some}."


def _compute(found: Findings) -> tuple[str, str]:
    sizes = sorted({arm.parameters for arm in found.arms if arm.parameters})
    size = (
        " to ".join(numbers.quantity(n) for n in dict.fromkeys([*sizes[:1], *sizes[-1:]])) or "not recorded"
    )
    used = found.cost
    more = [
        f"{numbers.number(used.gpu_hours, 2)} GPU-hours" if used.gpu_hours is not None else "",
        f"{numbers.number(used.energy_kwh, 2)} kWh" if used.energy_kwh is not None else "",
    ]
    lost = sum(arm.lost for arm in found.arms)
    spent = [
        origin.charged(found) if used.charged_seconds or not found.imported else "time not recorded",
        f"{numbers.duration(used.occupied_seconds)} in all" if used.occupied_seconds else "",
        *more,
    ]
    text = (
        f"Parameters: {size}. {tables.budget(found)} {used.trials} trials, {lost} of them failed and "
        f"included: {', '.join(s for s in spent if s)}. "
        f"Hardware: {'; '.join(found.provenance.hardware) or 'not recorded'}. "
        "Trials that ran outside this study are not in its records."
    )
    return ("yes" if sizes and found.provenance.hardware else "partly", text)


def _setup(found: Findings, frozen: Mapping[str, Any]) -> tuple[str, str]:
    factors = frozen.get("factors") or {}
    varied = "; ".join(f"{knob}: {', '.join(map(_level, levels))}" for knob, levels in factors.items())
    recipes = any(arm.get("recipe") for arm in frozen.get("arms") or ())
    text = (
        f"Design: {found.design}, {origin.size(found)}"
        + (f" ({origin.blocks(found).removeprefix('blocks ')})" if found.paired else " each")
        + f"; {origin.sharing(found)}. "
        + (f"Varied: {varied or 'see study.json'}. Every arm's complete recipe stands in study.json, every "
           "trial's in its record.json. " if recipes else "No recipe was recorded. ")
        + (_kept(found, frozen) if recipes else "")
    )  # fmt: skip
    return ("yes" if recipes else "partly", text.strip())


def _kept(found: Findings, frozen: Mapping[str, Any]) -> str:
    """What became of the hyperparameters that are no factors."""
    if found.design == "search":
        return "Hyperparameters were searched within the study."
    spaces = [s["space"] for s in frozen.get("searches") or () if s.get("phase") == "tune"]
    if tuned := ", ".join(dict.fromkeys(knob for space in spaces for knob in space)):
        return f"Tuned for every arm within the study: {tuned}; others stay at the baseline's."
    return "Other hyperparameters stay at the baseline's and were not tuned per arm."


def _level(level: Any) -> str:
    return str(level.get("kind", level)) if isinstance(level, Mapping) else str(level)


def _statistics(found: Findings) -> tuple[str, str]:
    o = found.outcome
    margin = f"±{o.margin:g} {o.unit}".rstrip() if o.margin else "not declared"
    fixed = f"fixed in study.json on {found.created[:10]}, before the first trial"
    if found.imported:
        fixed = f"declared at import on {found.created[:10]}, after the runs, as the outcome was"
    when = "" if found.post_hoc else f", {fixed}"
    varied = "what a seed changes (initialization, data order, masks), not the choice of data"
    if found.imported:
        varied = (
            f"between {'blocks' if found.paired else 'runs of an arm'}; what varies there is not recorded"
        )
    level = f"{100 * (1 - found.alpha):g} %"
    done = sorted({arm.completed for arm in found.arms})
    over = " to ".join(str(n) for n in dict.fromkeys([done[0], done[-1]]))
    means = (
        f"Means over {over} blocks; differences are within-block with {level} t intervals (normal "
        "differences assumed, exact sign-flip p beside them)"
        if found.paired
        else f"Means over {over} trials; differences of means with {level} Welch t intervals (normal "
        "values assumed, Dunnett's p beside them)"
    )
    text = (
        f"{means}. Holm over the declared family of {len(found.family)}; equivalence by two one-sided tests "
        f"against a margin of {margin}{when}. "
        f"Variability: {varied}. "
        f"Every verdict: {'; '.join(f'{name} {c.verdict}' for name, c in list(found.contrasts.items())[:12])}"
        f"{' …' if len(found.contrasts) > 12 else ''}."
    )
    if found.post_hoc:
        text += f" Changed after data had arrived: {'; '.join(found.post_hoc)}."
    if any(c.effect.low is not None for c in found.contrasts.values()):
        return ("yes", text)
    return ("no", f"No interval: no arm has two complete {'pairs' if found.paired else 'trials'}. {text}")


def _packages(found: Findings) -> tuple[str, str]:
    versions = [f"{name} {' / '.join(seen)}" for name, seen in found.provenance.versions.items()]
    return (
        "yes" if versions else "no",
        ", ".join(versions) + "." if versions else "No versions were recorded.",
    )


def _reproduce(found: Findings, frozen: Mapping[str, Any]) -> tuple[str, str]:
    digest = str(frozen.get("source_sha256") or "")[:12]
    code = ", ".join(found.provenance.git) or "not recorded"
    text = f"`{reproduce(found)}`" + (f" (SHA-256 {digest}…)" if digest else "")
    if found.imported:
        text += (
            f" makes these tables again from the runs' results; code revision: {code}; how the runs were "
            "seeded is not recorded; records and study.json are plain JSON."
        )
        return ("partly", text)
    text += (
        f"; code revision: {code}; random streams are named and seeded per block; records, curves and the "
        "frozen study are plain JSON and Parquet."
    )
    exact = found.provenance.git and all(_published(name) for name in found.provenance.git)
    return ("yes" if found.source and exact else "partly", text)


def _access(found: Findings) -> tuple[str, str]:
    known = [name for name in found.provenance.git if name != "not recorded"]
    code = ", ".join(known) or "not recorded"
    text = f"Code revision: {code}. Whether code and data are public is yours to say."
    if not all(map(_published, known)):
        text += " Some trials ran on local changes that no revision holds: publish them."
    return ("partly" if known else "no", text)


def _published(revision: str) -> bool:
    """Whether a revision holds the code that ran."""
    return revision != "not recorded" and "local changes" not in revision


def _licence(frozen: Mapping[str, Any]) -> tuple[str, str]:
    found = sorted(set(frozen.get("licences") or ()))
    if not found:
        return ("no", "The records name no licence of the data.")
    return (
        "partly",
        f"Data: {'; '.join(found)}. Licences of models and code used besides are yours to name.",
    )


def as_json(items: list[Item]) -> list[dict[str, str]]:
    """Plain JSON values."""
    return [asdict(item) for item in items]


def as_markdown(found: Findings, items: list[Item]) -> str:
    """The items by venue, ready to paste into a form."""
    lines = [f"# Reproducibility checklists: {found.title or found.name}", ""]
    names = {"acl": "ACL, Responsible NLP Research", "neurips": "NeurIPS, Paper Checklist"}
    for venue in dict.fromkeys(item.venue for item in items):
        lines += [f"## {names[venue]}", ""]
        for item in (i for i in items if i.venue == venue):
            lines += [f"- **{item.number}** {item.asks}: **{item.answer}**. {item.text}"]
        lines += [f"- No record answers: {LEFT[venue]}.", ""]
    return "\n".join(lines)
