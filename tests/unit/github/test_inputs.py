from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.github.auto_merge import AutoMerge
from aprqa_ci.github.comment import CommentMode
from aprqa_ci.github.inputs import INPUT_NAMES, ActionInputs, Command, read_inputs
from aprqa_ci.github.publish import Mode


def given_(**inputs: str) -> dict[str, str]:
    return {f"INPUT_{name.upper()}": text for name, text in inputs.items()}


def problems(**inputs: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_inputs(given_(**inputs))
    return [str(problem) for problem in caught.value.problems]


def test_what_is_not_given_has_a_default() -> None:
    assert read_inputs(given_(command="merge")) == ActionInputs(command=Command.MERGE)


def test_all_inputs_of_a_plan() -> None:
    read = read_inputs(
        given_(
            command="plan",
            playbooks=" a b.yaml \n\n c/*.yaml\n",
            tier="mvp",
            only="*:run-*",
            runners="r.yml",
            target_minutes="2.5",
            max_shards="300",
            output="out",
            artifact_prefix="x-",
        )
    )
    assert read.playbooks == ("a b.yaml", "c/*.yaml")
    assert (read.tier, read.only, read.runners) == ("mvp", ("*:run-*",), Path("r.yml"))
    assert (read.target_minutes, read.max_shards) == (2.5, 300)
    assert (read.output, read.artifact_prefix) == (Path("out"), "x-")


def test_all_inputs_of_a_merge() -> None:
    digest = "a" * 64
    read = read_inputs(
        given_(
            command="merge",
            plan="p.json",
            plan_digest=digest,
            evidence="e",
            publish="pr",
            comment_mode="changes",
            token="secret",
        )
    )
    assert (read.plan, read.plan_digest, read.evidence) == (Path("p.json"), digest, Path("e"))
    assert (read.publish, read.comment_mode) == (Mode.PR, CommentMode.CHANGES)
    assert read.token == "secret"
    assert "secret" not in repr(read)


def test_what_is_done_with_pull_requests() -> None:
    read = read_inputs(
        given_(
            command="certify",
            playbooks="p",
            reviewers="alice\nacme/qa\n",
            auto_merge="squash",
            close_superseded="true",
            author="my-app[bot]",
        )
    )
    assert read.reviewers == ("alice", "acme/qa")
    assert (read.auto_merge, read.close_superseded) == (AutoMerge.SQUASH, True)
    assert read.author == "my-app[bot]"


@pytest.mark.parametrize(
    ("name", "text"),
    [("auto_merge", "yes"), ("close_superseded", "1"), ("author", "two words")],
)
def test_what_cannot_be_done_with_pull_requests(name: str, text: str) -> None:
    (told,) = problems(command="merge", **{name: text})
    assert name.replace("_", "-") in told


def test_a_reporter_opens_no_pull_request() -> None:
    told = problems(command="report", plan="p", evidence="e", reviewers="alice")
    assert told == ["the input reviewers belongs to certify and merge, not to report"]


def test_all_inputs_of_a_fetch() -> None:
    read = read_inputs(given_(command="fetch", shard="s001", plan="p.json", hf_token=" hf_x "))
    assert (read.shard, read.plan, read.hf_token) == ("s001", Path("p.json"), "hf_x")
    assert "hf_x" not in repr(read)


def test_what_is_fetched_for_is_a_plan_or_playbooks() -> None:
    (told,) = problems(command="resolve", playbooks="a.yaml", shard="s001")
    assert "shard is of a plan (leave playbooks out)" in told


def test_models_are_run_without_the_token_of_the_hub() -> None:
    for command in ("run", "certify", "merge", "plan"):
        assert "the input hf-token belongs to fetch and resolve" in "\n".join(
            problems(command=command, hf_token="hf_x", shard="s", playbooks="p")
        )


def test_an_unknown_command_is_guessed_at() -> None:
    (told,) = problems(command="merg")
    assert "perhaps 'merge' is meant" in told


def test_a_missing_command_names_all() -> None:
    (told,) = problems()
    assert "plan, resolve, fetch, run, merge, certify, report" in told


def test_every_problem_is_told_at_once() -> None:
    told = problems(
        command="plan",
        shard="s001",
        target_minutes="soon",
        max_shards="0",
        publish="yes",
        artifact_prefix="../x",
    )
    assert [next(name for name in INPUT_NAMES if f"input {name} " in each) for each in told] == [
        "playbooks",
        "shard",
        "target-minutes",
        "max-shards",
        "publish",
        "artifact-prefix",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("target_minutes", "1e3"),
        ("target_minutes", "-1"),
        ("target_minutes", "0"),
        ("target_minutes", "nan"),
        ("max_shards", "1.5"),
        ("max_shards", "99999999"),
        ("runners", "a\nb"),
    ],
)
def test_what_is_no_value(name: str, text: str) -> None:
    (told,) = problems(command="plan", playbooks="p", **{name: text})
    assert name.replace("_", "-") in told


def test_what_a_command_needs() -> None:
    assert "shard is missing" in problems(command="run")[0]
    assert ["plan" in problems(command="report")[0], len(problems(command="report"))] == [True, 2]


@given(
    st.sampled_from(list(Command)),
    st.dictionaries(st.sampled_from([*INPUT_NAMES[1:]]), st.text(max_size=40)),
)
def test_no_input_is_a_traceback(command: Command, texts: dict[str, str]) -> None:
    environment = {f"INPUT_{name.upper().replace('-', '_')}": text for name, text in texts.items()}
    with suppress(InputError):
        assert read_inputs({**environment, "INPUT_COMMAND": command.value}).command is command
