"""action.yml, ``aprqa action``, the reusable workflow and the README speak of the same things."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from aprqa_ci.certification.statement import PREDICATE_TYPE
from aprqa_ci.cli.action import OUTPUT_NAMES
from aprqa_ci.github.inputs import INPUT_NAMES, Command

ROOT = Path(__file__).resolve().parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
LEVELS = ("none", "read", "write")
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
(TOOL,) = (step for step in STEPS if step.get("id") == "aprqa")


def expressions(value: object) -> list[str]:
    """The expressions in a value, without their string literals."""
    if isinstance(value, dict):
        own = [str(value["if"])] if "if" in value else []
        return own + [each for entry in value.values() for each in expressions(entry)]
    if isinstance(value, list):
        return [each for entry in value for each in expressions(entry)]
    found = re.findall(r"\$\{\{(.*?)\}\}", str(value), re.DOTALL)
    return [re.sub(r"'[^']*'", "''", each) for each in found]


def documented(heading: str) -> dict[str, str]:
    """The rows of a table of the README: first column, last column."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.split(f"| {heading} |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \|(.*)\|$", table, re.MULTILINE)
    return {name: rest.split("|")[-1].strip() for name, rest in rows}


def test_the_tool_reads_every_input_and_no_other() -> None:
    assert set(ACTION["inputs"]) == set(INPUT_NAMES)


def test_every_input_reaches_the_tool_through_its_environment() -> None:
    env = {f"INPUT_{name.upper().replace('-', '_')}" for name in INPUT_NAMES}
    assert set(TOOL["env"]) == env
    for name in INPUT_NAMES:
        text = TOOL["env"][f"INPUT_{name.upper().replace('-', '_')}"]
        if name not in {"token", "hf-token"}:
            assert text == f"${{{{ inputs.{name} }}}}"


def test_no_logic_and_no_expression_is_in_a_script() -> None:
    scripts = [step["run"] for step in STEPS if "run" in step]
    assert scripts == ['exec sh "$GITHUB_ACTION_PATH/scripts/action/run.sh"']


def test_the_token_is_kept_from_the_commands_that_run_models() -> None:
    given = {
        name: set(json.loads(re.findall(r"fromJSON\('(.*?)'\), inputs.command", text)[0]))
        for name, text in TOOL["env"].items()
        if name.endswith("TOKEN")
    }
    assert given["INPUT_TOKEN"] == {Command.MERGE, Command.CERTIFY, Command.REPORT}
    assert given["INPUT_HF_TOKEN"] == {Command.RESOLVE, Command.FETCH}


def test_the_workflows_give_the_token_of_the_hub_to_the_steps_that_fetch_alone() -> None:
    for name in (".github/workflows/certify-shards.yml", "examples/step-by-step.yml"):
        workflow: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
        assert "HF_TOKEN" not in str([workflow.get("env"), workflow["jobs"]["shard"].get("env")])
        steps = workflow["jobs"]["shard"]["steps"]
        given = [step["with"]["command"] for step in steps if "hf-token" in str(step).lower()]
        assert given == ["resolve", "fetch"]
        (cache,) = (step for step in steps if "actions/cache@" in step.get("uses", ""))
        assert cache["with"] == {
            "path": "${{ steps.models.outputs.models }}",
            "key": "${{ steps.models.outputs.cache-key }}",
        }


def test_the_tool_sets_every_output_and_no_other() -> None:
    told = {name for names in OUTPUT_NAMES.values() for name in names}
    assert set(ACTION["outputs"]) == told
    for name, output in ACTION["outputs"].items():
        assert output["value"] == f"${{{{ steps.aprqa.outputs.{name} }}}}"


def test_expressions_name_only_what_there_is() -> None:
    ids = {step["id"] for step in STEPS if "id" in step}
    for expression in expressions(ACTION):
        assert set(re.findall(r"inputs\.([\w-]+)", expression)) <= set(ACTION["inputs"])
        assert set(re.findall(r"steps\.([\w-]+)", expression)) <= ids


def test_the_readme_says_what_the_action_takes() -> None:
    table = documented("input")
    assert list(table) == list(ACTION["inputs"])
    for name, told in ACTION["inputs"].items():
        assert table[name] == told["description"], name


def test_the_readme_says_what_the_action_gives() -> None:
    table = documented("output")
    assert list(table) == list(ACTION["outputs"])
    for name, told in ACTION["outputs"].items():
        assert table[name] == told["description"], name


def test_the_reusable_workflow_hands_on_inputs_of_the_action() -> None:
    text = (ROOT / ".github/workflows/certify.yml").read_text(encoding="utf-8")
    called: dict[str, Any] = yaml.safe_load(text)[True]["workflow_call"]
    assert set(called["inputs"]) <= set(ACTION["inputs"])
    assert set(called["outputs"]) <= set(ACTION["outputs"])
    for name in called["inputs"]:
        assert f"{name}: ${{{{ inputs.{name} }}}}" in text
    for name, output in called["outputs"].items():
        assert output["value"] == f"${{{{ jobs.verdict.outputs.{name} }}}}"
        assert f"      {name}: ${{{{ steps.merge.outputs.{name} }}}}" in text


def test_the_shards_of_each_class_are_limited_as_the_plan_says() -> None:
    workflows = ROOT / ".github/workflows"
    outer = yaml.safe_load((workflows / "certify.yml").read_text(encoding="utf-8"))["jobs"][
        "shards"
    ]
    assert outer["with"]["max-parallel"] == "${{ matrix.max-parallel }}"
    assert "max-parallel" not in outer["strategy"]
    inner = yaml.safe_load((workflows / "certify-shards.yml").read_text(encoding="utf-8"))
    assert inner["jobs"]["shard"]["strategy"]["max-parallel"] == "${{ inputs.max-parallel }}"
    assert inner["jobs"]["shard"]["timeout-minutes"] == "${{ matrix.timeout-minutes }}"
    flat = yaml.safe_load((ROOT / "examples/step-by-step.yml").read_text(encoding="utf-8"))["jobs"]
    told = "${{ fromJSON(needs.plan.outputs.max-parallel) }}"
    assert flat["shard"]["strategy"]["max-parallel"] == told
    assert flat["plan"]["outputs"]["max-parallel"] == "${{ steps.plan.outputs.max-parallel }}"
    assert flat["shard"]["timeout-minutes"] == "${{ matrix.timeout-minutes }}"


def test_the_job_that_may_sign_runs_no_code_but_githubs() -> None:
    job = jobs_of(ROOT / ".github/workflows/attest.yml")["attest"]
    assert set(job["permissions"]) == {"id-token", "attestations"}
    used = [step["uses"].split("@")[0] for step in job["steps"] if "uses" in step]
    assert used == ["actions/download-artifact", "actions/attest", "actions/upload-artifact"]
    (script,) = (step for step in job["steps"] if "run" in step)
    assert script["run"].endswith("| sha256sum --check --strict")
    assert script["env"] == {
        "PREDICATE": "${{ matrix.predicate }}",
        "SUBJECTS": "${{ matrix.subjects }}",
    }
    signs = next(step for step in job["steps"] if "actions/attest@" in step.get("uses", ""))
    assert signs["with"]["predicate-type"] == PREDICATE_TYPE


def shown_workflows() -> list[str]:
    """The pieces of workflows in the README."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    return [each for each in blocks if not each.startswith("# playbooks/")]


def jobs_of(workflow: Path) -> dict[str, Any]:
    jobs: dict[str, Any] = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return jobs


def asked_for(workflow: Path) -> dict[str, str]:
    """The rights that the jobs of a reusable workflow ask for together."""
    asked: dict[str, str] = {}
    for job in jobs_of(workflow).values():
        for scope, level in job["permissions"].items():
            asked[scope] = max(level, asked.get(scope, "none"), key=LEVELS.index)
    return asked


def callers() -> list[tuple[str, str, dict[str, str]]]:
    """Who calls a reusable workflow of ours, which one, and what rights it is given."""
    files = [*ROOT.glob("examples/*.yml"), *ROOT.glob(".github/workflows/*.yml")]
    found = [(path.name, job) for path in files for job in jobs_of(path).values()]
    for block in shown_workflows():
        told = yaml.safe_load(block)
        # The second job is shown apart from the first, as it stands below "jobs:".
        jobs = told.get("jobs", told) if isinstance(told, dict) else {}
        found += [("README.md", job) for job in jobs.values() if isinstance(job, dict)]
    return [
        (name, called[0], job["permissions"])
        for name, job in found
        if (called := re.findall(r"/\.github/workflows/([\w-]+\.yml)", job.get("uses", "")))
    ]


def test_who_calls_a_reusable_workflow_gives_it_the_rights_that_its_jobs_ask_for() -> None:
    # GitHub refuses to start a run whose called workflow asks for more than its caller has.
    for name, called, given in callers():
        for scope, level in asked_for(ROOT / ".github/workflows" / called).items():
            told = given.get(scope, "none")
            assert LEVELS.index(told) >= LEVELS.index(level), (name, called, scope)
    found = {(name, called) for name, called, _ in callers()}
    for called in ("certify.yml", "attest.yml"):
        for name in ("README.md", "nightly.yml", "app-token.yml", "certify-bundled.yml"):
            assert (name, called) in found
    assert ("certify.yml", "certify-shards.yml") in found


def test_certifying_takes_four_rights_and_signing_two() -> None:
    wanted = {
        "certify.yml": {"contents", "pull-requests", "checks", "actions"},
        "attest.yml": {"id-token", "attestations"},
    }
    for name, called, given in callers():
        if called in wanted:
            assert set(given) == wanted[called], name
            assert set(asked_for(ROOT / ".github/workflows" / called)) == wanted[called]


def test_what_is_signed_is_what_the_verdict_gives() -> None:
    workflows = [*ROOT.glob("examples/*.yml"), ROOT / ".github/workflows/certify-bundled.yml"]
    signing = [jobs for path in workflows if "attest" in (jobs := jobs_of(path))]
    assert len(signing) == 3
    for jobs in signing:
        assert jobs["attest"]["needs"] == "certify"
        assert jobs["attest"]["with"] == {"attest": "${{ needs.certify.outputs.attest }}"}
        condition = "${{ !cancelled() && needs.certify.outputs.attest != '' }}"
        assert jobs["attest"]["if"] == condition


def pieces(block: str) -> list[str]:
    """A block of the README at each comment on a line of its own: what is between was left out."""
    return [each for each in re.split(r"^ *#.*\n", block, flags=re.MULTILINE) if each]


def test_what_the_readme_shows_of_workflows_is_the_text_of_one_example() -> None:
    examples = [path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.yml")]
    shown = shown_workflows()
    assert any("uses: org/apr-qa/.github/workflows/certify.yml@v1" in block for block in shown)
    assert any("uses: org/apr-qa@v1" in block for block in shown)
    for block in shown:
        assert any(all(piece in text for piece in pieces(block)) for text in examples), block


def test_the_readme_links_every_example_and_a_test_runs_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tests = [path.read_text(encoding="utf-8") for path in (ROOT / "tests/e2e").glob("test_*.py")]
    examples = sorted(path.name for path in (ROOT / "examples").glob("*.yml"))
    assert examples
    for name in examples:
        assert f"(examples/{name})" in readme
        assert any(f'.workflow("{name}"' in text for text in tests), name


def test_the_security_policy_names_every_right_of_every_job() -> None:
    policy = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = {
        cells[0]: cells[1]
        for cells in (
            row.split(" | ") for row in re.findall(r"^\| (`.*) \|$", policy, re.MULTILINE)
        )
        if len(cells) == 3
    }
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        if path.name == "certify-bundled.yml":
            continue
        for name, job in jobs_of(path).items():
            shown = (
                ("certify.yml", "shards")
                if path.name == "certify-shards.yml"
                else (path.name, name)
            )
            told = [
                rights
                for row, rights in rows.items()
                if row.startswith(f"`{shown[0]}`")
                and (row.endswith("`") or shown[1] in row.partition("` ")[2].split(", "))
            ]
            assert len(told) == 1, (path.name, name)
            asked = {f"{scope}: {level}" for scope, level in job["permissions"].items()}
            assert set(re.findall(r"`([a-z-]+: [a-z]+)`", told[0])) == asked, (path.name, name)
