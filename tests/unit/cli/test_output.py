import io
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console
from rich.text import Text

from aprqa_ci.certification.bundle import Bundle, write_bundle
from aprqa_ci.cli.output import (
    console,
    raise_for,
    show_failures,
    show_paths,
    show_score,
)
from aprqa_ci.errors import InconclusiveError, ModelFellShortError
from aprqa_ci.planning.plan import Plan
from aprqa_ci.vocabulary import Category, Gateway, Outcome
from tests.playbooks import planned, playbook_data
from tests.records import made_records


def shown(*, terminal: bool = False) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=110, force_terminal=terminal, highlight=False), text


def test_a_score_is_shown_whole(blocked: Bundle) -> None:
    out, text = shown()
    show_score(out, blocked.score)
    lines = text.getvalue().splitlines()
    assert any(line.startswith("G1       failed") for line in lines)
    for name in (*Gateway, *Category):
        assert any(line.split()[:1] == [str(name)] for line in lines), name
    assert any(line.startswith("MQS 0 of 1000   grade F   status BLOCKED") for line in lines)
    assert sum(line.startswith("  - ") for line in lines) == len(blocked.score.obstacles)


def test_a_terminal_gets_colours(certified: Bundle) -> None:
    out, text = shown(terminal=True)
    show_score(out, certified.score)
    assert "\x1b[1;32mCERTIFIED" in text.getvalue()


def test_answers_cannot_act_on_the_screen(tmp_path: Path, plan: Plan) -> None:
    failed = next(each.id for each in plan.cells[0].scenarios if each.prompt)
    nasty = "\x1b[2J[bold red]gone[/]\nG0 passed\r" + "x" * 1000
    records = tuple(
        replace(record, reason=nasty) if record.outcome is Outcome.FALSIFIED else record
        for record in made_records(plan, {failed: Outcome.FALSIFIED})
    )
    out, text = shown()
    show_failures(out, write_bundle(tmp_path, plan, records, model_digests={}).score)
    (line, *rest) = text.getvalue().split("\n  ")
    assert rest == []
    assert "\x1b" not in line
    assert "[bold red]gone[/]" in line
    assert "more characters" in line


def test_only_the_first_failures_are_shown(tmp_path: Path) -> None:
    plan = planned(playbook_data(), tier="mvp").for_playbook("tiny")
    failing = [each.id for each in plan.cells[0].scenarios if each.prompt][:13]
    records = made_records(plan, dict.fromkeys(failing, Outcome.FALSIFIED))
    out, text = shown()
    show_failures(out, write_bundle(tmp_path, plan, records, model_digests={}).score)
    assert text.getvalue().count("Falsified") == 10
    assert "… and 3 more; see the report" in text.getvalue()


def test_paths_are_shown_as_they_are() -> None:
    out, text = shown()
    show_paths(out, [Path("a/[b].json")])
    assert text.getvalue() == "  wrote a/[b].json\n"


def test_the_worst_verdict_decides(
    certified: Bundle, blocked: Bundle, inconclusive: Bundle
) -> None:
    raise_for([certified])
    raise_for([])
    with pytest.raises(InconclusiveError):
        raise_for([certified, inconclusive])
    with pytest.raises(ModelFellShortError):
        raise_for([inconclusive, blocked, certified])


def test_without_a_terminal_it_is_wide_and_plain() -> None:
    made = console()
    assert (made.width, made.is_terminal, made.no_color) == (110, False, True)


def test_what_is_printed_shows_and_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    out = console()
    out.print("[link=https://evil.example]x[/link] \x1b[2J [/]")
    out.print(Text("a\u2066b\u202ec", style="red"))
    out.print(Text("plain"), soft_wrap=True)
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["[link=https://evil.example]x[/link]  [/]", "a[U+2066]b[U+202E]c", "plain"]
