from aprqa_ci.scoring.wording import brief, counted, named


def test_brief_is_one_short_line() -> None:
    assert brief("a\n\tb  c") == "a b c"
    assert brief("x" * 240) == "x" * 240
    assert brief("x" * 241) == "x" * 239 + "…"
    assert len(brief("y" * 100_000, 50)) == 50


def test_named_gives_three_and_counts_the_rest() -> None:
    assert named(["a", "b", "c"]) == "a, b, c"
    assert named(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def test_counted() -> None:
    assert (counted(1, "record"), counted(2, "record")) == ("1 record", "2 records")
