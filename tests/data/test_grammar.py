"""The grammar: a pure function of the seed whose truths hold and hang on word order."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from ablate.data import DataError
from ablate.data.grammar import TASKS, document, documents, task
from ablate.data.grammar.lexicon import ANIMALS, BLAME, PEOPLE, PRAISE, VERBS

NOUNS = {word: (noun, i) for noun in ANIMALS + PEOPLE for pair in noun.words for i, word in enumerate(pair)}
DEEDS = {word: verb for verb in VERBS for word in verb.words}


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+|[.,]", text)


def meaning(sentence: str) -> tuple:
    """(agent, deed, patient) of an event's sentence, by class and not by word."""
    found = words(sentence)
    first, second = (NOUNS[word][0] for word in found if word in NOUNS)
    [deed] = [DEEDS[word] for word in found if word in DEEDS]
    return (second, deed, first) if "by" in found else (first, deed, second)


def test_the_corpus_is_a_pure_function_of_the_seed_and_longer_runs_extend_it() -> None:
    short, long = list(documents(3, characters=20_000)), list(documents(3, characters=60_000))
    assert long[: len(short)] == short
    assert short[7] == document(3, 7)
    assert not set(documents(4, characters=20_000)) & set(short)


def test_documents_have_five_to_thirty_sentences() -> None:
    lengths = [text.count(".") for text in documents(0, characters=300_000)]
    assert min(lengths) >= 5
    assert max(lengths) <= 30


def test_the_language_is_small() -> None:
    # A model of half a million parameters must meet every form often.
    assert len(Counter(w for text in documents(0, characters=300_000) for w in words(text))) < 200


def test_verbs_agree_with_their_subject() -> None:
    found = 0
    for text in documents(0, characters=200_000):
        for noun, verb in re.findall(r"(?:^|\. )the (\w+) (was|were) ", text):
            if noun in NOUNS:
                found += 1
                assert (verb == "were") == bool(NOUNS[noun][1])
    assert found > 200


def test_what_follows_an_event_is_done_by_the_right_side() -> None:
    found = 0
    for text in documents(0, characters=300_000):
        for clause, who, then in re.findall(r"([^.]+) , so the (\w+) (\w+)\.", text):
            agent, deed, patient = meaning(clause)
            found += 1
            assert NOUNS[who][0] == patient != agent
            assert then == deed.patient
    assert found > 200


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_a_pure_function_of_its_seed(name: str) -> None:
    one, two, other = (task(name, seed=s, train=50, validation=20) for s in (0, 0, 1))
    assert one["train"].equals(two["train"])
    assert one["validation"].equals(two["validation"])
    assert not one["train"].equals(other["train"])


@pytest.mark.parametrize("name", TASKS)
def test_no_example_is_in_both_splits_and_labels_are_balanced(name: str) -> None:
    splits, spec = task(name, train=600, validation=300), TASKS[name]
    seen = [set(split[list(spec.columns)].itertuples(index=False, name=None)) for split in splits.values()]
    assert (len(seen[0]), len(seen[1]), len(seen[0] & seen[1])) == (600, 300, 0)
    if spec.classes:
        assert splits["train"].label.mean() == pytest.approx(0.5, abs=0.07)
    else:
        assert (splits["train"].label.min(), splits["train"].label.max()) == (0, 5)


def test_acceptable_sentences_agree_and_wrong_ones_do_not() -> None:
    for sentence, label in task("acceptability", train=500, validation=1)["train"].itertuples(index=False):
        found = words(sentence)
        head = NOUNS.get(found[1])
        agrees = head is not None and ("were" in found) == bool(head[1])
        if label:
            assert agrees, sentence
        else:
            ordered = found[0] == "the" and found[-3:-1] != [".", "."]
            assert not agrees or ordered  # an exchange keeps the words, so only their order is wrong


def test_wrong_sentences_use_the_same_words_as_right_ones() -> None:
    train = task("acceptability", train=2000, validation=1)["train"]
    counts = [Counter(w for s in train[train.label == i].sentence for w in set(words(s))) for i in (0, 1)]
    size = [int((train.label == i).sum()) for i in (0, 1)]
    for word in ("was", "were", "that", "near", "not", "and"):
        assert counts[0][word] / size[0] == pytest.approx(counts[1][word] / size[1], abs=0.08)


def test_sentiment_follows_what_is_affirmed() -> None:
    for sentence, label in task("sentiment", train=500, validation=1)["train"].itertuples(index=False):
        found = words(sentence)
        denied = found[found.index("not") + 1] if "not" in found else None
        affirmed = [w for w in found if w in PRAISE + BLAME and w != denied]
        good = affirmed[0] in PRAISE if affirmed else denied in BLAME
        assert good == bool(label), sentence


def test_paraphrases_tell_the_same_event_and_the_others_do_not() -> None:
    for one, two, label in task("paraphrase", train=500, validation=1)["train"].itertuples(index=False):
        assert (meaning(one) == meaning(two)) == bool(label), (one, two)


def test_most_paraphrase_negatives_differ_in_roles_alone() -> None:
    train = task("paraphrase", train=500, validation=1)["train"]
    wrong = [(meaning(a), meaning(b)) for a, b, label in train.itertuples(index=False) if not label]
    swapped = [a == (b[2], b[1], b[0]) for a, b in wrong]
    assert sum(swapped) / len(swapped) == pytest.approx(0.6, abs=0.1)


def test_similarity_is_five_for_the_same_event_and_falls_with_every_difference() -> None:
    for one, two, score in task("similarity", train=500, validation=1)["train"].itertuples(index=False):
        places = [re.search(r"(?:near|behind|beside) the (\w+)\.", text) for text in (one, two)]
        same_place = places[0].group(1) == places[1].group(1)  # type: ignore[union-attr]
        assert (score == 5) == (meaning(one) == meaning(two) and same_place), (one, two, score)


def test_entailment_is_by_the_class_above_or_the_same_event_and_denial_breaks_it() -> None:
    higher = {form: nouns for nouns in (ANIMALS, PEOPLE) for form in nouns[0].above}
    for one, two, label in task("entailment", train=500, validation=1)["train"].itertuples(index=False):
        agent, deed, patient = meaning(one)
        found = words(two)
        [told] = [DEEDS[word] for word in found if word in DEEDS]
        sides = [higher[w] if w in higher else (NOUNS[w][0],) for w in found if w in NOUNS or w in higher]
        doer, receiver = sides[::-1] if "by" in found else sides
        same_side = ("never" in words(one)) == ("never" in found)
        follows = told is deed and agent in doer and patient in receiver and same_side
        assert follows == (label == 0), (one, two)


def test_an_unknown_task_is_told_the_known_ones() -> None:
    with pytest.raises(DataError, match="acceptability, sentiment, paraphrase"):
        task("grammaticality")
