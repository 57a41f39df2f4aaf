import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from aprqa_ci.markdown import (
    Inline,
    bold,
    bullets,
    code_span,
    comment,
    cut,
    escape_text,
    fenced,
    heading,
    join,
    link,
    table,
)
from aprqa_ci.plain_text import one_line, visible

JOINER = "\u200d"
RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])

ATTACKS = [
    "<img src=x onerror=alert(1)>",
    "![pixel](https://evil.example/x.png)",
    "[click](javascript:alert(1))",
    "a | b || c",
    "```\nnot code\n```",
    "# heading\n- item\n1. one\n> quote\n---\n| a |\n|---|",
    "<!-- aprqa:comment --> -->",
    "*b* _i_ ~~s~~ `c` \\ $x$ &lt; &#124;",
    "<details><summary>x</summary>",
    "[ref]: https://evil.example",
    "1) one",
    "= =",
]

hostile = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="`|\\*_[]()<>!-#&$~@:/ \nab19.=+", max_size=60),
    st.sampled_from(ATTACKS),
)


def plain_of(markdown: str) -> str:
    """Return what a reader of the rendered Markdown sees, without the joiners."""
    rendered = RENDERER.render(markdown)
    return html.unescape(re.sub(r"<[^>]*>", "", rendered)).replace(JOINER, "").strip("\n")


def tags_of(markdown: str) -> set[str]:
    return set(re.findall(r"<\s*/?\s*([a-z0-9]+)", RENDERER.render(markdown)))


@given(hostile)
def test_escaped_text_renders_as_itself_and_as_nothing_else(text: str) -> None:
    escaped = escape_text(text)
    assert plain_of(escaped) == one_line(text).replace(JOINER, "")
    assert tags_of(escaped) <= {"p"}


@given(hostile)
def test_escaped_text_stays_inside_a_list_item_and_a_heading(text: str) -> None:
    assert tags_of(bullets([text])) <= {"ul", "li"}
    assert tags_of(heading(2, text)) == {"h2"}
    assert plain_of(heading(2, text)) == one_line(text).replace(JOINER, "")


@given(hostile)
def test_code_shows_the_text(text: str) -> None:
    span = code_span(text)
    assert plain_of(span) == one_line(text).replace(JOINER, "")
    assert tags_of(span) <= {"p", "code"}


@given(st.lists(st.lists(hostile, min_size=3, max_size=3), max_size=4))
def test_a_table_keeps_its_shape_whatever_is_in_the_cells(rows: list[list[str]]) -> None:
    cells = [[row[0], code_span(row[1]), bold(row[2])] for row in rows]
    rendered = RENDERER.render(table(["a", "b", "c"], cells, "lrc"))
    assert rendered.count("<table>") == 1
    assert rendered.count("<tr>") == len(rows) + 1
    assert rendered.count("<td") == 3 * len(rows)
    firsts = re.findall(r"<tr>\n<td[^>]*>(.*)</td>", rendered)
    expected = [(one_line(row[0]) or "-").replace(JOINER, "") for row in rows]
    assert [html.unescape(cell).replace(JOINER, "") for cell in firsts] == expected


@given(hostile)
def test_nothing_ends_a_code_block(text: str) -> None:
    block = fenced(text)
    tokens = RENDERER.parse(f"{block}\nafter")
    assert tokens[0].type == "fence"
    assert tokens[0].content.replace(JOINER, "") == visible(text).replace(JOINER, "") + "\n"
    assert tokens[2].content == "after"


@pytest.mark.parametrize(
    ("text", "unwanted"),
    [
        ("ask @org/team", "@org"),
        ("fixes #12", "#12"),
        ("closes owner/repo#12", "#12"),
        ("see GH-7 and gh-8", "GH-7"),
        ("fixes https://github.com/o/r/issues/1", "https://"),
        ("www.evil.example", "www."),
        ("mailto:a", "mailto:a"),
        ("<!-- aprqa:comment -->", "<!--"),
        ("<!-- aprqa:comment -->", "-->"),
        ("--!>", "--!>"),
    ],
)
def test_what_github_acts_on_is_broken_in_text_and_in_code(text: str, unwanted: str) -> None:
    assert unwanted in text
    for markdown in (escape_text(text), code_span(text), fenced(text)):
        assert unwanted not in html.unescape(markdown), markdown
        assert text in html.unescape(markdown).replace(JOINER, "")


def test_addresses_are_not_linked() -> None:
    assert "a@b" not in escape_text("a@b.example")


def test_ids_can_be_copied_out_of_code() -> None:
    assert code_span("tiny:run-cpu-gguf-q8_0#007") == "`tiny:run-cpu-gguf-q8_0#007`"
    assert code_span("facts@1") == "`facts@1`"


def test_unseen_characters_show_in_every_form() -> None:
    for markdown in (escape_text("a\u202eb"), code_span("a\u202eb"), fenced("a\u202eb")):
        assert "U+202E" in markdown


def test_long_text_is_cut_and_says_so() -> None:
    long = "x" * 500
    for markdown in (
        escape_text(long, 20),
        code_span(long, 20),
        fenced(long, limit=20),
        table(["a"], [[long]], limit=20),
    ):
        assert "480 more characters" in markdown
        assert "x" * 21 not in markdown


def test_a_code_span_with_backticks_and_pipes() -> None:
    assert code_span("a`b") == "``a`b``"
    assert code_span("`a") == "`` `a ``"
    assert code_span("a|b") == "a&#124;b"
    assert code_span("") == ""


def test_finished_pieces_are_not_escaped_again() -> None:
    assert bold("a*b") == r"**a\*b**"
    assert bold(code_span("a*b")) == "**`a*b`**"
    assert bold("") == ""
    assert join(", ", ["a*b", code_span("c")]) == r"a\*b, `c`"
    assert isinstance(join("", []), Inline)


def test_a_table_without_rows_is_its_head() -> None:
    assert table(["a", "b"], [], "lr").split("\n")[1:] == ["|:----|----:|"]
    assert len(table(["a", "b"], []).split("\n")) == 2


def test_table_cells_of_other_kinds() -> None:
    assert "| 7   | 1.5 | -   |" in table(["a", "b", "c"], [[7, 1.5, None]])


@pytest.mark.parametrize(
    "url", ["http://a.example", "javascript:x", "https://a.example/)x", "https://a.example/ b", ""]
)
def test_only_urls_of_our_own_making_are_linked(url: str) -> None:
    with pytest.raises(ValueError, match="not a URL"):
        link("x", url)


def test_a_link() -> None:
    assert link("a]b", "https://huggingface.co/o/n") == r"[a\]b](https://huggingface.co/o/n)"


def test_comments_are_markers_only() -> None:
    assert comment("aprqa:report v=1") == "<!-- aprqa:report v=1 -->"
    for text in ("a --> b", "a -- b", "", "<!--"):
        with pytest.raises(ValueError, match="not fit"):
            comment(text)


SECTIONS = "# One\n\nfirst words here\n\n# Two\n\nmore words\n\n```text\na\nb\nc\nd\n```\n\nend\n"


@pytest.mark.parametrize("limit", range(130))
def test_a_cut_text_fits_and_is_well_formed(limit: int) -> None:
    text = cut(SECTIONS + "x\n" * 60, limit, note="Cut.")
    assert len(text.encode()) <= limit
    assert text == "" or text.endswith("\nCut.\n")
    fences = [line for line in text.split("\n") if line.startswith("```")]
    assert len(fences) % 2 == 0


def test_a_text_that_fits_is_left_as_it_is() -> None:
    assert cut(SECTIONS, len(SECTIONS.encode()), note="Cut.") == SECTIONS


def test_a_text_is_cut_before_a_heading() -> None:
    text = "# One\n\nfirst words here\n\n# Two\n\nmore\n"
    assert cut(text, len(text) - 1, note="Cut.") == "# One\n\nfirst words here\n\nCut.\n"


def test_a_heading_inside_a_fence_is_no_place_to_cut() -> None:
    text = "````text\naaaaaaaaaa\n```\n# no heading\nb\n````\nlong tail of the text\n"
    assert cut(text, len(text) - 1, note="Cut.") == (
        "````text\naaaaaaaaaa\n```\n# no heading\nb\n````\n\nCut.\n"
    )
    assert cut(text, 49, note="Cut.") == "````text\naaaaaaaaaa\n```\n# no heading\n````\n\nCut.\n"


@given(st.text(alphabet="`~# a\n|é", max_size=200), st.integers(0, 200))
def test_any_text_is_cut_to_the_limit(text: str, limit: int) -> None:
    short = cut(text, limit, note="Cut.")
    assert len(short.encode()) <= limit
    assert short in {text, ""} or short.endswith("\nCut.\n")
