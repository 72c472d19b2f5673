"""Lists as people print them."""

from ablate.words import each_once, some


def test_a_long_list_ends_with_how_many_more() -> None:
    assert some(["a", "b, c", "d"]) == "a; b, c; d"
    assert some(["a", "b", "c", "d", "e"]) == "a; b; c and 2 more"


def test_a_message_is_said_once_with_the_arms_it_is_true_of() -> None:
    assert each_once([("a", "x"), ("b", "y"), ("c", "x")]) == ["a; c: x", "b: y"]
