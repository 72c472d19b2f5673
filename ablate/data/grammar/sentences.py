"""Sentences: noun phrases that agree, events that can be told in the active and the passive, states.

A sentence is a plain string of lower-case words and punctuation, every mark set off by spaces in the
tasks' word-order edits and joined again by the tokenizer. Chance comes in as a `Dice`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

from ablate.data.grammar.lexicon import ADJECTIVES, ANIMALS, PEOPLE, PLACES, VERBS, Noun, Verb

T = TypeVar("T")
NEAR = ("near", "behind", "beside")
SINGULAR = ("the", "a", "this", "that", "every", "one")
PLURAL = ("the", "some", "these", "those", "many", "two")
CREATURES = ANIMALS + PEOPLE


class Dice:
    """Chance for the generator, from `random()` alone, whose sequence Python promises never to change."""

    def __init__(self, seed: str) -> None:
        self.random = Random(seed).random

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.random() * len(items))]

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def sample(self, items: Sequence[T], n: int) -> list[T]:
        """n different items."""
        pool = list(items)
        return [pool.pop(int(self.random() * len(pool))) for _ in range(n)]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        return self.sample(items, len(items))


@dataclass(frozen=True)
class Entity:
    """Somebody or something in a story: a noun class, which of its synonyms, one or several."""

    noun: Noun
    word: int
    plural: bool
    adjective: str = ""

    @property
    def head(self) -> str:
        return self.noun.words[self.word][self.plural]

    def text(self, determiner: str = "the") -> str:
        return f"{determiner} {self.adjective} {self.head}" if self.adjective else f"{determiner} {self.head}"

    def renamed(self) -> Entity:
        """By the other synonym, where there is one."""
        return replace(self, word=(self.word + 1) % len(self.noun.words))

    def bare(self) -> Entity:
        return replace(self, adjective="")

    def determined(self, dice: Dice) -> str:
        """With a determiner that agrees in number."""
        return self.text(article(dice.pick(PLURAL if self.plural else SINGULAR), self.adjective or self.head))


def article(determiner: str, following: str) -> str:
    return "an" if determiner == "a" and following[0] in "aeiou" else determiner


def entity(dice: Dice, nouns: Sequence[Noun], *, plural: bool | None = None) -> Entity:
    noun = dice.pick(nouns)
    return Entity(noun, dice.pick(range(len(noun.words))), dice.chance(0.5) if plural is None else plural)


def be(plural: bool) -> str:
    return "were" if plural else "was"


@dataclass(frozen=True)
class Event:
    """Who did what to whom, where."""

    agent: Entity
    verb: Verb
    word: int  # which synonym of the verb
    patient: Entity
    place: str = ""  # "near the river", or nothing

    @property
    def deed(self) -> str:
        return self.verb.words[self.word]

    def active(self) -> str:
        return self._placed(f"{self.agent.text()} {self.deed} {self.patient.text()}")

    def passive(self) -> str:
        return self._placed(
            f"{self.patient.text()} {be(self.patient.plural)} {self.deed} by {self.agent.text()}"
        )

    def denied(self) -> str:
        """Did not happen."""
        return self._placed(f"{self.agent.text()} never {self.deed} {self.patient.text()}")

    def _placed(self, clause: str) -> str:
        return f"{clause} {self.place}" if self.place else clause

    def consequence(self, *, of_patient: bool) -> str:
        """What the patient, or the agent, did then: the follow-up that only roles can tell."""
        who, deed = (self.patient, self.verb.patient) if of_patient else (self.agent, self.verb.agent)
        return f"{who.bare().text()} {deed}"

    def swapped(self) -> Event:
        """Roles exchanged: the same words, another truth."""
        return replace(self, agent=self.patient, patient=self.agent)

    def reworded(self, dice: Dice) -> Event:
        """The same truth with synonyms."""
        return replace(
            self,
            agent=self.agent.renamed() if dice.chance(0.5) else self.agent,
            patient=self.patient.renamed() if dice.chance(0.5) else self.patient,
            word=dice.pick(range(len(self.verb.words))),
        )


def location(dice: Dice, place: Entity) -> str:
    return f"{dice.pick(NEAR)} {place.text()}"


def event(dice: Dice, agent: Entity, patient: Entity, place: str = "") -> Event:
    verb = dice.pick(VERBS)
    return Event(agent, verb, dice.pick(range(len(verb.words))), patient, place)


def quality(dice: Dice) -> tuple[str, str, str]:
    """An adjective, a synonym of it and an antonym."""
    pair = dice.pick(ADJECTIVES)
    same, opposite = pair if dice.chance(0.5) else pair[::-1]
    first = int(dice.random() * 2)
    return same[first], same[1 - first], dice.pick(opposite)


def state(dice: Dice, subject: str, plural: bool) -> str:
    """A subject and what it was like: agreement at whatever distance the subject has."""
    adjective, synonym, antonym = quality(dice)
    form = dice.random()
    if form < 0.4:
        return f"{subject} {be(plural)} {adjective}"
    if form < 0.6:
        return f"{subject} {be(plural)} {adjective} and {synonym}"
    if form < 0.8:
        return f"{subject} {be(plural)} {adjective} , not {antonym}"
    return f"{subject} {be(plural)} not {antonym} but {adjective}"


def distant_subject(dice: Dice, head: Entity, other: Entity) -> str:
    """A subject with another noun between it and the verb: in a phrase or a relative clause."""
    form = dice.random()
    if form < 0.5:
        return f"{head.text()} {dice.pick(NEAR)} {other.text()}"
    deed = dice.pick(dice.pick(VERBS).words)
    if form < 0.75:
        return f"{head.text()} that {deed} {other.text()}"
    return f"{head.text()} that {other.text()} {deed}"


def cast(dice: Dice, n: int) -> list[Entity]:
    """Different creatures, so that a story's names are unambiguous."""
    nouns = dice.sample(CREATURES, n)
    return [Entity(noun, dice.pick(range(len(noun.words))), dice.chance(0.5)) for noun in nouns]


def scene(dice: Dice) -> Entity:
    return entity(dice, PLACES, plural=False)
