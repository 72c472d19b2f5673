"""GLUE-shaped tasks from the grammar: acceptability, sentiment, paraphrase, similarity, entailment.

The truth is known by construction, and word order decides it: right and wrong examples are drawn so that
their bags of words have the same distribution wherever the task allows (agreement with a distractor of the
other number, roles exchanged, `good , not dull` against `dull , not good`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ablate.data.errors import DataError
from ablate.data.grammar.documents import generalised, opinion, verdict
from ablate.data.grammar.lexicon import PEOPLE, PLACES, THINGS, VERBS
from ablate.data.grammar.sentences import (
    CREATURES,
    Dice,
    Entity,
    Event,
    cast,
    distant_subject,
    entity,
    event,
    location,
    quality,
    scene,
    state,
)

if TYPE_CHECKING:
    from pandas import DataFrame

Example = dict[str, Any]


@dataclass(frozen=True)
class GrammarTask:
    """A task: its text columns, how it is scored, and one random example of it."""

    columns: tuple[str, ...]
    metric: Literal["mcc", "accuracy", "spearman"]
    classes: int | None  # None: a regression
    example: Callable[[Dice], Example]


def task(
    name: str, *, seed: int = 0, train: int = 2000, validation: int = 1000
) -> dict[Literal["train", "validation"], DataFrame]:
    """A task's splits, with columns as in GLUE; no text (or pair) occurs twice.

    Raises DataError for a name that is no task.
    """
    from pandas import DataFrame

    if name not in TASKS:
        raise DataError(
            f"a grammar task is one of {', '.join(TASKS)}; '{name}' is none of them; correct the name"
        )
    examples = _different(TASKS[name], Dice(f"task/{name}/{seed}"), train + validation)
    return {"train": DataFrame(examples[:train]), "validation": DataFrame(examples[train:])}


def _different(spec: GrammarTask, dice: Dice, n: int) -> list[Example]:
    found: dict[tuple[str, ...], Example] = {}
    while len(found) < n:
        example = spec.example(dice)
        found.setdefault(tuple(example[column] for column in spec.columns), example)
    return list(found.values())


# --- one sentence ------------------------------------------------------------------------------------


def acceptability(dice: Dice) -> Example:
    """Label 1: well formed. A wrong one disagrees with its distant subject, or has two neighbours exchanged.

    Every sentence has one singular and one plural noun before its verb, so `were` is as common in right
    sentences as in wrong ones, and an exchange leaves the bag of words as it was.
    """
    head, other = cast(dice, 2)
    other = replace(other, plural=not head.plural)
    subject = distant_subject(dice, head, other)
    right = dice.chance(0.5)
    if right:
        sentence = state(dice, subject, head.plural)
    elif dice.chance(0.5):
        sentence = state(dice, subject, not head.plural)
    else:
        sentence = exchanged(dice, state(dice, subject, head.plural))
    return {"sentence": f"{sentence}.", "label": int(right)}


def exchanged(dice: Dice, sentence: str) -> str:
    """Two neighbouring words exchanged, which no sentence of `state` survives."""
    words = sentence.split()
    i = int(dice.random() * (len(words) - 1))
    words[i], words[i + 1] = words[i + 1], words[i]
    return " ".join(words)


def sentiment(dice: Dice) -> Example:
    """Label 1: the thing was good. What is denied and what is said use the same words either way."""
    positive, thing = dice.chance(0.5), entity(dice, THINGS)
    sentence = verdict(dice, thing, positive)
    if dice.chance(0.4):
        sentence = f"{opinion(entity(dice, PEOPLE))} {sentence}"
    return {"sentence": f"{sentence}.", "label": int(positive)}


# --- pairs -------------------------------------------------------------------------------------------


def _event(dice: Dice, *, described: bool = True) -> Event:
    """An event whose two sides agree in number, so that exchanging them leaves the bag of words."""
    agent, patient = cast(dice, 2)
    patient = replace(patient, plural=agent.plural)
    if described and dice.chance(0.4):
        agent = replace(agent, adjective=quality(dice)[0])
    place = location(dice, scene(dice)) if dice.chance(0.3) else ""
    return event(dice, agent, patient, place)


def told(dice: Dice, happened: Event) -> str:
    return happened.active() if dice.chance(0.5) else happened.passive()


def _other(dice: Dice, who: Entity, also_not: Entity) -> Entity:
    """Somebody else of the same number and of another class, so that no class above covers both."""
    others = [n for n in CREATURES if n.above != who.noun.above and n is not also_not.noun]
    noun = dice.pick(others)
    return replace(who, noun=noun, word=dice.pick(range(len(noun.words))))


def _other_verb(dice: Dice, happened: Event) -> Event:
    verb = dice.pick([verb for verb in VERBS if verb is not happened.verb])
    return replace(happened, verb=verb, word=dice.pick(range(len(verb.words))))


def altered(dice: Dice, happened: Event) -> Event:
    """Another event: mostly the same with roles exchanged, else with another participant or deed."""
    form = dice.random()
    if form < 0.6:
        return happened.swapped()
    if form < 0.7:
        return replace(happened, agent=_other(dice, happened.agent, happened.patient))
    if form < 0.8:
        return replace(happened, patient=_other(dice, happened.patient, happened.agent))
    return _other_verb(dice, happened)


def paraphrase(dice: Dice) -> Example:
    """Label 1: the same event, in either voice and with synonyms."""
    happened, same = _event(dice), dice.chance(0.5)
    second = (happened if same else altered(dice, happened)).reworded(dice)
    return {
        "sentence1": f"{told(dice, happened)}.",
        "sentence2": f"{told(dice, second)}.",
        "label": int(same),
    }


def entailment(dice: Dice) -> Example:
    """Label 0: the second follows from the first (as in RTE), which tells more or names it more exactly."""
    happened, follows = _event(dice), dice.chance(0.5)
    if dice.chance(0.4):
        premise, hypothesis = denial(dice, happened, follows)
    else:
        premise = told(dice, happened)
        hypothesis = weakened(dice, happened if follows else altered(dice, happened))
    return {"sentence1": f"{premise}.", "sentence2": f"{hypothesis}.", "label": int(not follows)}


def denial(dice: Dice, happened: Event, follows: bool) -> tuple[str, str]:
    """Both tell or both deny it, or one denies what the other tells; `never` is as common either way."""
    again = happened.reworded(dice)
    denied = dice.chance(0.5)
    return (
        happened.denied() if denied else happened.active(),
        again.denied() if denied == follows else again.active(),
    )


def weakened(dice: Dice, happened: Event) -> str:
    """What follows from an event: one side by the class above it, or descriptions and place left out."""
    if dice.chance(0.5):
        return generalised(dice, happened)
    bare = replace(happened, agent=happened.agent.bare(), patient=happened.patient.bare(), place="")
    return told(dice, bare.reworded(dice))


# What a difference costs of the five points; roles exchanged count instead of both participants.
COST = {"agent": 1.25, "patient": 1.25, "verb": 1.5, "place": 1.0, "roles": 2.0}


def similarity(dice: Dice) -> Example:
    """Label 0 to 5: five points less the cost of every part in which the second event differs."""
    first = replace(_event(dice), place=location(dice, scene(dice)))
    second, score, closeness = first, 5.0, dice.random()
    if dice.chance(0.4):
        second, score = second.swapped(), score - COST["roles"]
    else:
        if dice.chance(closeness):
            second = replace(second, agent=_other(dice, first.agent, first.patient))
            score -= COST["agent"]
        if dice.chance(closeness):
            second = replace(second, patient=_other(dice, first.patient, second.agent))
            score -= COST["patient"]
    if dice.chance(closeness):
        second, score = _other_verb(dice, second), score - COST["verb"]
    if dice.chance(closeness):
        second, score = replace(second, place=_elsewhere(dice, first.place)), score - COST["place"]
    return {
        "sentence1": f"{told(dice, first)}.",
        "sentence2": f"{told(dice, second.reworded(dice))}.",
        "label": score,
    }


def _elsewhere(dice: Dice, place: str) -> str:
    """The same preposition and another place."""
    preposition, here = place.split(" the ")
    others = [noun for noun in PLACES if here not in [word[0] for word in noun.words]]
    return f"{preposition} {entity(dice, others, plural=False).text()}"


TASKS = {
    "acceptability": GrammarTask(("sentence",), "mcc", 2, acceptability),
    "sentiment": GrammarTask(("sentence",), "accuracy", 2, sentiment),
    "paraphrase": GrammarTask(("sentence1", "sentence2"), "accuracy", 2, paraphrase),
    "similarity": GrammarTask(("sentence1", "sentence2"), "spearman", None, similarity),
    "entailment": GrammarTask(("sentence1", "sentence2"), "accuracy", 2, entailment),
}
