"""Documents: stories in which who did what decides what follows, and reviews in which `not` decides.

A document has a cast, a place and a tense; 5 to 30 sentences. Masked words are predictable from the words
around them and from their order: agreement across an attractor, the one who flees after a chase, the same
event retold in the passive, an adjective and what it is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from ablate.data.grammar.lexicon import BLAME, DISLIKE, LIKE, PEOPLE, PRAISE, THINGS
from ablate.data.grammar.sentences import (
    Dice,
    Entity,
    Event,
    article,
    be,
    cast,
    distant_subject,
    entity,
    event,
    location,
    quality,
    scene,
    state,
)


def documents(seed: int, *, characters: int) -> Iterator[str]:
    """Documents until so many characters are reached; a pure function of the seed, longer runs extend it."""
    number = 0
    while characters > 0:
        text = document(seed, number)
        characters -= len(text) + 1
        number += 1
        yield text


def document(seed: int, number: int) -> str:
    """One document; its own chance, so that documents are addressable."""
    dice = Dice(f"document/{seed}/{number}")
    sentences = review(dice) if dice.chance(0.3) else story(dice)
    return " ".join(f"{sentence}." for sentence in sentences)


@cache
def version() -> str:
    """A digest of what the generator writes, for cache keys: it changes when any common rule does."""
    return hashlib.sha256("\n".join(documents(0, characters=200_000)).encode()).hexdigest()[:16]


def story(dice: Dice) -> list[str]:
    actors, place = cast(dice, 3), scene(dice)
    length = 5 + int(dice.random() * 22)
    told = [f"{actors[0].determined(dice)} lived {location(dice, place)}"]
    while len(told) < length:
        agent, patient = dice.sample(actors, 2)
        told += episode(dice, agent, patient, place)
    return told


def episode(dice: Dice, agent: Entity, patient: Entity, place: Entity) -> list[str]:
    """One event and what hangs on it, or one description."""
    form = dice.random()
    if form < 0.6:
        return happening(dice, _described(dice, agent), _described(dice, patient), place)
    if form < 0.85:
        return [state(dice, distant_subject(dice, agent, patient), agent.plural)]
    if form < 0.95:
        return [state(dice, f"{agent.text()} and {patient.text()}", True)]
    return [state(dice, agent.text(), agent.plural)]


def happening(dice: Dice, agent: Entity, patient: Entity, place: Entity) -> list[str]:
    where = location(dice, place) if dice.chance(0.2) else ""
    happened = event(dice, agent, patient, where)
    active = dice.chance(0.5)
    told = happened.active() if active else happened.passive()
    follow_up = dice.random()
    if follow_up < 0.35:
        return [f"{told} , so {happened.consequence(of_patient=True)}"]
    if follow_up < 0.5:
        return [f"{told} , and then {happened.consequence(of_patient=False)}"]
    if follow_up < 0.9:
        return [told, retold(dice, happened, active)]
    return [happened.denied(), f"{patient.bare().text()} stayed"]


def retold(dice: Dice, happened: Event, active: bool) -> str:
    """The event again: synonyms, mostly the other voice, or the class above in place of a name."""
    if dice.chance(0.3):
        return f"so {generalised(dice, happened)}"
    again = happened.reworded(dice)
    return f"that is , {again.passive() if dice.chance(0.65) == active else again.active()}"


def generalised(dice: Dice, happened: Event) -> str:
    """What follows from the event: one of the two named by its class, descriptions and place left out."""
    who, whom = happened.agent.bare(), happened.patient.bare()
    if dice.chance(0.5):
        return f"{above(who)} {happened.deed} {whom.text()}"
    return f"{above(whom)} {be(whom.plural)} {happened.deed} by {who.text()}"


def above(who: Entity) -> str:
    """`an animal`, `some people`."""
    word = who.noun.above[who.plural]
    return f"{'some' if who.plural else article('a', word)} {word}"


def _described(dice: Dice, who: Entity) -> Entity:
    return who if dice.chance(0.75) else replace(who, adjective=quality(dice)[0])


def review(dice: Dice) -> list[str]:
    """A verdict on one thing that never changes; only the order of the words says which it is."""
    thing, positive = entity(dice, THINGS), dice.chance(0.5)
    critics = [Entity(noun, 0, dice.chance(0.5)) for noun in dice.sample(PEOPLE, 3)]
    length = 5 + int(dice.random() * 14)
    return [
        reaction(dice, dice.pick(critics), thing, positive)
        if dice.chance(0.4)
        else judged(dice, dice.pick(critics), thing, positive)
        for _ in range(length)
    ]


def judged(dice: Dice, critic: Entity, thing: Entity, positive: bool) -> str:
    said = verdict(dice, thing, positive)
    return f"{opinion(critic)} {said}" if dice.chance(0.25) else said


def opinion(critic: Entity) -> str:
    return f"{critic.text()} thought that"


def verdict(dice: Dice, thing: Entity, positive: bool) -> str:
    """`the film was good , not dull`; `the film was not dull but good`."""
    so, opposite = (PRAISE, BLAME) if positive else (BLAME, PRAISE)
    subject = f"{thing.text()} {be(thing.plural)}"
    form = dice.random()
    if form < 0.2:
        return f"{subject} {dice.pick(so)}"
    if form < 0.4:
        return f"{subject} not {dice.pick(opposite)}"
    if form < 0.7:
        return f"{subject} {dice.pick(so)} , not {dice.pick(opposite)}"
    return f"{subject} not {dice.pick(opposite)} but {dice.pick(so)}"


def reaction(dice: Dice, critic: Entity, thing: Entity, positive: bool) -> str:
    """`the kids liked the film because it was good`; `the kids never hated the film`."""
    liked, so = (LIKE, PRAISE) if positive else (DISLIKE, BLAME)
    if dice.chance(0.3):
        return f"{critic.text()} never {dice.pick(DISLIKE if positive else LIKE)} {thing.text()}"
    liking = f"{critic.text()} {dice.pick(liked)} {thing.text()}"
    if dice.chance(0.5):
        it = "they" if thing.plural else "it"
        return f"{liking} because {it} {be(thing.plural)} {dice.pick(so)}"
    return liking
