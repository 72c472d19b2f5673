"""The words of the generated language: small synonym classes, with forms for number.

Everything happens in the past, so that a verb has one form and agreement shows in `was` and `were`. Some
170 word forms in all, on purpose: a model of half a million parameters that sees half a million tokens
must meet every form often enough to learn how it behaves.
"""

from __future__ import annotations

from dataclasses import dataclass

Forms = tuple[str, str]  # singular and plural


@dataclass(frozen=True)
class Noun:
    """A noun class: one or two synonyms, each (singular, plural), and the class above it."""

    words: tuple[Forms, ...]
    above: Forms = ("", "")


@dataclass(frozen=True)
class Verb:
    """A transitive verb class (past tense and participle in one form) and what follows from the deed.

    `patient` is what the one does to whom it happened, `agent` what the one does who did it.
    """

    words: tuple[str, ...]
    patient: str
    agent: str


def _forms(word: str) -> Forms:
    """`dog` or `child/children`."""
    singular, _, plural = word.partition("/")
    return singular, plural or singular + "s"


def _nouns(line: str, above: str = "") -> tuple[Noun, ...]:
    """`dog hound, cat`: synonyms separated by spaces, classes by commas."""
    higher = _forms(above) if above else ("", "")
    return tuple(Noun(tuple(_forms(word) for word in part.split()), higher) for part in line.split(", "))


ANIMALS = _nouns("dog hound, rabbit hare, pig hog, horse", "animal")
PEOPLE = _nouns("doctor physician, teacher tutor, child/children kid, king", "person/people")
THINGS = _nouns("film movie, book novel, song tune, meal")
PLACES = _nouns("river, forest, school, market, bridge")

ADJECTIVES = (  # (an adjective and its synonym, the antonym and its synonym)
    (("happy", "glad"), ("sad", "gloomy")),
    (("big", "large"), ("small", "little")),
    (("brave", "bold"), ("timid", "shy")),
    (("clever", "smart"), ("foolish", "silly")),
    (("quick", "fast"), ("slow", "sluggish")),
)
PRAISE = ("good", "great", "lovely", "charming", "brilliant")
BLAME = ("bad", "awful", "dull", "boring", "horrible")
LIKE = ("liked", "enjoyed", "praised")
DISLIKE = ("hated", "disliked", "mocked")

VERBS = (
    Verb(("chased", "pursued"), patient="fled", agent="panted"),
    Verb(("helped", "assisted"), patient="recovered", agent="smiled"),
    Verb(("scared", "frightened"), patient="trembled", agent="laughed"),
    Verb(("fed", "nourished"), patient="ate", agent="cooked"),
    Verb(("called", "summoned"), patient="came", agent="waited"),
    Verb(("pushed", "shoved"), patient="fell", agent="stood"),
)
