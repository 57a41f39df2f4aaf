from pathlib import Path

import pytest

from aprqa_ci.certification.bundle import Bundle, write_bundle
from aprqa_ci.certification.registering import register_bundle
from aprqa_ci.planning.plan import Plan
from aprqa_ci.registry.readme_table import TABLE_END, TABLE_START
from aprqa_ci.registry.update_file import read_registry_file
from aprqa_ci.vocabulary import Outcome, Status
from tests.bundles import made_bundle, scenario_id
from tests.records import made_records


def test_registering_twice_changes_nothing_the_second_time(
    tmp_path: Path, certified: Bundle
) -> None:
    registry, readme = tmp_path / "docs" / "models.csv", tmp_path / "README.md"
    readme.write_text(f"# Hello\n\n{TABLE_START}\n{TABLE_END}\n\nBye\n", encoding="utf-8")
    first = register_bundle(certified, registry=registry, readme=readme)
    assert first is not None
    assert {cell.column for cell in first.cells} >= {"mqs_score", "grade", "status"}
    before = registry.read_bytes(), readme.read_bytes()
    assert b"org/tiny" in before[0]
    assert b"org/tiny" in before[1]
    again = register_bundle(certified, registry=registry, readme=readme)
    assert again is not None
    assert again.cells == ()
    assert (registry.read_bytes(), readme.read_bytes()) == before


def test_of_two_results_the_better_evidence_stands(tmp_path: Path) -> None:
    registry, readme = tmp_path / "models.csv", tmp_path / "README.md"
    readme.write_text(f"{TABLE_START}\n{TABLE_END}\n", encoding="utf-8")
    bundles = {
        (tier, days, good): made_bundle(
            tmp_path / f"{tier}-{days}-{good}",
            tier=tier,
            days=days,
            outcomes={} if good else {scenario_id("G1-LOAD"): Outcome.FALSIFIED},
        )
        for tier, days, good in (
            ("mvp", 0, True),
            ("mvp", 1, True),
            ("mvp", 0, False),
            ("mvp", 2, False),
            ("quick", 2, True),
            ("quick", 2, False),
        )
    }

    def registered(tier: str, days: int, good: bool, *, replace_better: bool = False) -> str:
        change = register_bundle(
            bundles[tier, days, good],
            registry=registry,
            readme=readme,
            replace_better=replace_better,
        )
        assert change is not None
        assert not (change.declined and change.cells)
        return change.declined

    def status() -> str:
        ((row),) = read_registry_file(registry).rows
        assert row["status"] in readme.read_text(encoding="utf-8")
        return row["status"]

    assert registered("mvp", 1, True) == ""
    before = registry.read_bytes(), readme.read_bytes()
    assert "what stands is of" in registered("mvp", 0, True)
    assert "what stands is of" in registered("mvp", 0, False)
    assert registered("quick", 2, True) == "tier quick is below mvp, which stands"
    assert registered("quick", 2, False) == "tier quick is below mvp, which stands"
    assert (registry.read_bytes(), readme.read_bytes()) == before
    # What is newer and asked as much is news, above all when it is bad.
    assert registered("mvp", 2, False) == ""
    assert status() == "BLOCKED"
    assert "what stands is of" in registered("mvp", 1, True)
    assert status() == "BLOCKED"
    assert registered("mvp", 1, True, replace_better=True) == ""
    assert status() == "CERTIFIED"
    assert registered("quick", 2, False, replace_better=True) == ""
    assert status() == "BLOCKED"


def test_a_row_that_was_edited_is_mended_by_its_own_evidence(
    tmp_path: Path, certified: Bundle
) -> None:
    registry = tmp_path / "models.csv"
    register_bundle(certified, registry=registry, readme=None)
    before = registry.read_bytes()
    registry.write_bytes(before.replace(b",1000,", b",999,"))
    change = register_bundle(certified, registry=registry, readme=None)
    assert change is not None
    assert [cell.column for cell in change.cells] == ["mqs_score"]
    assert registry.read_bytes() == before


@pytest.mark.parametrize("text", [None, "# No table here\n"])
def test_a_readme_without_a_table_is_left_alone(
    tmp_path: Path, certified: Bundle, text: str | None
) -> None:
    readme = tmp_path / "README.md"
    if text is not None:
        readme.write_text(text, encoding="utf-8")
    assert register_bundle(certified, registry=tmp_path / "models.csv", readme=readme)
    assert readme.exists() == (text is not None)
    assert text is None or readme.read_text(encoding="utf-8") == text


def test_an_inconclusive_run_changes_nothing(tmp_path: Path, plan: Plan, certified: Bundle) -> None:
    registry, readme = tmp_path / "models.csv", tmp_path / "README.md"
    readme.write_text(f"{TABLE_START}\n{TABLE_END}\n", encoding="utf-8")
    register_bundle(certified, registry=registry, readme=readme)
    before = registry.read_bytes(), readme.read_bytes()
    skipped = made_records(
        plan, {plan.cells[0].scenarios[-1].id: Outcome.SKIPPED}, cause="infrastructure:no-memory"
    )
    bundle = write_bundle(tmp_path / "again", plan, skipped, model_digests={})
    assert bundle.certificate.status is Status.INCONCLUSIVE
    assert register_bundle(bundle, registry=registry, readme=readme) is None
    assert (registry.read_bytes(), readme.read_bytes()) == before
