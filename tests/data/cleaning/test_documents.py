"""Stages that look at one document at a time: normalisation, rules, language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.data.cleaning import Document
from ablate.data.cleaning.language import Language
from ablate.data.cleaning.normalize import Normalize
from ablate.data.cleaning.rules import Rules
from ablate.data.tokenizer import assemble, trained_vocabulary
from tests.data.cleaning.corpora import cleaned, generated

switches = st.fixed_dictionaries(
    {name: st.booleans() for name in ("lowercase", "accents", "ascii", "whitespace")}
)


@given(st.text(), switches)
def test_normalising_twice_changes_nothing_more(text: str, chosen: dict) -> None:
    stage = Normalize(**chosen)
    assert stage.clean(stage.clean(text)) == stage.clean(text)


@given(st.text(), switches)
def test_what_was_asked_for_holds(text: str, chosen: dict) -> None:
    clean = Normalize(**chosen).clean(text)
    assert not chosen["ascii"] or clean.isascii()
    assert not chosen["whitespace"] or (clean == clean.strip() and "  " not in clean and "\n\n" not in clean)
    assert not (chosen["lowercase"] and chosen["ascii"]) or clean == clean.lower()


def test_letters_lose_their_marks_and_quotes_their_curls() -> None:
    said = Normalize().clean("“Ünïcôdé”  isn’t\u00a0naïve –\n\n\t 你好!")
    assert said == '"unicode" isn\'t naive -\n!'
    assert Normalize(lowercase=False, ascii=False).clean("Ünï – 你") == "Uni – 你"


def test_the_tokenizer_sees_the_same_with_and_without_normalising() -> None:
    """It lower-cases, strips accents and drops what is not ASCII itself; only typography is gained."""
    texts = [document.text for document in generated(50)]
    tokenizer = assemble(trained_vocabulary(texts, 300))
    for text in ["Ça va, Élan Vital? Yes, it DOES.", *texts]:
        assert tokenizer.encode(Normalize().clean(text)).ids == tokenizer.encode(text).ids


PROSE = (
    "The physician that we met was born to a family of farmers, and they have always lived with the sea. "
    "One of their boats lay at the harbour; it had to be painted before the winter came. "
) * 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PROSE, None),
        ("Too short to be of use.", "too few words"),
        ("a b c d e f g h i j " * 10, "words too short"),
        ("internationalisation institutionalised " * 40, "words too long"),
        (PROSE + "{[(<##>)]} <<%%&&%%>> " * 40, "too many symbols"),
        ("One line of the menu here\n" * 20, "repeated lines"),
        ("yellow bicycle under seven bridges " * 12, "too few stop words"),
    ],
)
def test_each_rule_names_itself(text: str, reason: str | None) -> None:
    assert Rules().broken(text) == reason


def test_limits_of_length_are_inclusive() -> None:
    rules = Rules(min_characters=len(PROSE), max_characters=len(PROSE))
    assert rules.broken(PROSE) is None
    assert rules.broken(PROSE[:-1]) == "too few characters"
    assert rules.broken(PROSE + ".") == "too many characters"


def test_neutral_rules_keep_everything() -> None:
    neutral = Rules(
        min_words=0,
        min_word_length=0,
        max_word_length=100,
        max_symbols=1,
        max_repeated_lines=1,
        min_stop_words=0,
    )
    odd = [Document(str(i), text) for i, text in enumerate(["", " ", "!!!", "a\na\na", "x" * 99])]
    assert cleaned(neutral, odd)[0] == odd


LANGUAGES = {
    "en": "The museum was opened in the spring, and many people came to see the paintings of the masters.",
    "de": "Das Museum wurde im Frühling eröffnet, und viele Leute kamen, um die Gemälde der Meister zu sehen.",
    "fr": "Le musée a été ouvert au printemps, et beaucoup de gens sont venus voir les tableaux des maîtres.",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_documents_of_one_language_stay_and_the_others_are_named(language: str) -> None:
    documents = [Document(name, text) for name, text in LANGUAGES.items()]
    kept, report = cleaned(Language(language=language), documents)
    assert [document.id for document in kept] == [language]
    assert report.dropped == {other: 1 for other in LANGUAGES if other != language}


def test_an_unknown_language_is_told_with_the_known_ones() -> None:
    (problem,) = Language(language="english").problems()
    assert "'english'" in problem
    assert " en," in problem
    assert Language().breaks_strict
