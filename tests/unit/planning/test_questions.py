"""Whether two runs put the same questions to a cell."""

import msgspec
import pytest

from aprqa_ci.planning.plan import PlannedCell
from aprqa_ci.planning.questions import questions_digest
from tests.playbooks import planned, playbook_data


def cell() -> PlannedCell:
    return planned(playbook_data(), tier="mvp").cells[0]


def test_the_same_questions_have_the_same_digest_whatever_else_is_planned() -> None:
    first = cell()
    fewer = tuple(each for each in first.scenarios if each.prompt is not None)
    assert questions_digest(cell()) == questions_digest(first)
    assert questions_digest(msgspec.structs.replace(first, scenarios=fewer)) == questions_digest(
        first
    )


@pytest.mark.parametrize(
    "change", [{"max_tokens": 3}, {"temperature": 0.5}, {"turns": ("What is 2+2?",)}, {"seed": 7}]
)
def test_another_question_or_another_way_to_ask_has_another(change: dict[str, object]) -> None:
    first = cell()
    at = next(n for n, each in enumerate(first.scenarios) if each.prompt is not None)
    scenario = first.scenarios[at]
    assert scenario.prompt is not None
    other = msgspec.structs.replace(
        scenario, prompt=msgspec.structs.replace(scenario.prompt, **change)
    )
    scenarios = (*first.scenarios[:at], other, *first.scenarios[at + 1 :])
    changed = msgspec.structs.replace(first, scenarios=scenarios)
    assert questions_digest(changed) != questions_digest(first)
    # The order of the questions belongs to their scenarios' ids.
    turned = msgspec.structs.replace(first, scenarios=first.scenarios[::-1])
    assert questions_digest(turned) == questions_digest(first)
