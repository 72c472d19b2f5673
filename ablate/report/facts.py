"""The facts that a table's caption states, as values: written beside a table, and found again in prose.

Authors reword captions. What stays in whatever words are a few phrases with numbers (`n = 5`, `family of 3`,
`margin ±0.1`), and only those are read back; a caption that leaves one out states nothing wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ablate.analysis.findings import NOT_RECORDED, Findings
from ablate.budget import Budget

FACTS = {
    "n": "n", "family": "size of the family", "level": "level of the interval in %", "margin": "margin",
    "budget": "budget", "hardware": "hardware",
}  # fmt: skip
_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
_N = rf"(\d++(?:[.,]\d++)*+|\.\d++|{'|'.join(_WORDS)})"
_ITEMS = r"(?:sentence|example|item|instance|document|question|token|word|sample|layer|head|parameter)s?\b"
_PHRASES = {
    "n": (
        # with n = 500 sentences a caption may well speak of a test set
        rf"(?<!\w)n\s*[=≤]\s*{_N}(?! (?:test |held-out )?{_ITEMS})",
        rf"\bover (?:the |all |our )?{_N} (?:blocks|paired blocks)\b",
    ),
    "family": (
        rf"\bfamily (?:of|size)(?: size| of| =)? ?{_N}",
        rf"\bover (?:the |all |our )?{_N} (?:comparisons|contrasts|hypotheses)\b",
    ),
    "level": (rf"{_N} ?% ?(?:t\b|Welch|CIs?\b|confidence|credible|interval)",),
    "margin": (rf"\bmargin(?: of| is| was|:| =)? ?±? ?{_N}", rf"± ?{_N} (?:\w+ )?margin\b", r"\b(no) margin"),
    "budget": (r"\bbudget(?: per trial| of|:| is| was)* (\d[\d.,]*(?:e[+-]?\d+)? ?[A-Za-z]+)",),
    "hardware": (r"\bhardware: ([^.]+(?:\.\d[^.]*)*)",),
}  # fmt: skip
# Parts of a machine's name that tell it from another: A100, H100, 8480, 1 of 2 cores, but not 80GB.
_MODEL = re.compile(r"\d+ (?:of \d+ )?cores|\b(?!\d+ ?[GMT]i?B\b)(?=\w*\d\w*\d)\w{3,}\b")
_ONE_SIDED = re.compile(r"equivalen|TOST|one-sided", re.IGNORECASE)
_TIMES = {"sec": "s", "second": "s", "minute": "m", "hour": "h", "day": "d"}


@dataclass(frozen=True)
class Stated:
    """A fact as a text words it; `value` is comparable with that of `facts`.

    `one_sided`: in a sentence about equivalence, where tests at 5 % are an interval of 90 %.
    """

    name: str
    words: str
    value: Any
    one_sided: bool = False


def facts(found: Findings) -> dict[str, Any]:
    """What the caption says of the whole table: n, family, level of interval, margin, budget, hardware."""
    return {
        "n": found.blocks, "family": len(found.family), "level": round(100 * (1 - found.alpha), 6),
        "margin": found.outcome.margin, "budget": found.budget,
        "hardware": sorted(name for name in found.provenance.hardware if name != NOT_RECORDED),
    }  # fmt: skip


def stated(text: str) -> Iterator[Stated]:
    """The facts that a caption words in a form that can be read back."""
    text = re.sub(r"[\s\u00a0\u2009\u202f]+", " ", text)
    for name, patterns in _PHRASES.items():
        for pattern in patterns:
            for match in re.finditer(pattern, text, re.IGNORECASE):
                value = _value(name, match[1])
                if value is not None:
                    yield Stated(name, match[0].strip(), value, _one_sided(text, match))


def _one_sided(text: str, at: re.Match[str]) -> bool:
    """Whether the sentence around a match is about equivalence."""
    before, after = text[: at.start()], text[at.end() :]
    return bool(_ONE_SIDED.search(re.split(r"[.;] ", before)[-1] + re.split(r"[.;] ", after)[0]))


def _value(name: str, text: str) -> Any:
    if name == "hardware":
        return text
    if name == "budget":
        return _budget(text)
    if text.lower() == "no":
        return "none"
    if text.lower() in _WORDS:
        return float(_WORDS.index(text.lower()))
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def _budget(text: str) -> Budget | None:
    """`12s`, `12 seconds`, `24 hours`; nothing where the unit is none that a budget has."""
    amount, unit = re.fullmatch(r"(\S*?\d\.?) ?([A-Za-z]+)", text).groups()  # type: ignore[union-attr]
    unit = _TIMES.get(unit.lower().rstrip("s") or unit, unit)
    try:
        return Budget.parse(f"{amount.rstrip('.,')} {unit}")
    except ValueError:
        return None


def agrees(said: Stated, now: Mapping[str, Any], counts: Collection[int]) -> bool:
    """Whether a worded fact is one of these; `counts` are the blocks that single arms completed."""
    recorded = now.get(said.name)
    if said.name == "n":
        return bool(said.value == recorded or said.value in counts)
    if said.name == "level":
        tested = said.one_sided and recorded is not None and round(2 * recorded - 100, 6)
        return recorded is None or said.value in (recorded, tested)
    if said.name == "margin":
        return bool(said.value == ("none" if recorded is None else recorded))
    if said.name == "budget":
        if recorded is None:
            return False
        try:
            return bool(said.value == Budget.parse(recorded))
        except ValueError:
            return True  # recorded in words of its own
    if said.name == "hardware":
        names = " ".join(recorded or ()).casefold()
        return all(model.casefold() in names for model in _MODEL.findall(said.value))
    return bool(said.value == recorded)
