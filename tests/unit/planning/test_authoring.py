from pathlib import Path

import pytest

from aprqa_ci.errors import AprqaError, InputError
from aprqa_ci.planning.authoring import ModelFacts, facts_of, find_template, write_playbook
from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.playbook.load import declared_tier, load_template, parse_playbook
from aprqa_ci.vocabulary import SizeCategory

_TEMPLATE = b"""\
# What it is for.
name: ${MODEL_NAME}-smoke
version: "1.0.0"
model:
  hf_repo: ${HF_REPO}  # where it is
  formats: [gguf]
  size_category: ${SIZE_CATEGORY}

# How much of it.
test_matrix:
  modalities: [run]
  backends: [cpu]
  scenario_count: 3
"""
_SOURCE = Path("own-template.yaml")


@pytest.mark.parametrize("tier", load_tiers())
@pytest.mark.parametrize("repo", ["meta-llama/Llama-3.2-1B-Instruct", "acme/Foo_Bar-7B-chat"])
def test_what_is_written_loads_and_says_what_was_put_in(repo: str, tier: str) -> None:
    template, source = find_template(tier, folder=None)
    facts = facts_of(repo, tier)
    loaded = parse_playbook(write_playbook(template, facts, source=source).encode(), path=source)
    assert loaded.warnings == ()
    assert loaded.playbook.name == f"{facts.name}-{tier}"
    assert loaded.playbook.model.hf_repo == repo
    assert loaded.playbook.model.size_category == facts.size_category
    assert declared_tier(loaded.playbook) == tier
    assert repo in (loaded.playbook.description or "")


@pytest.mark.parametrize("tier", load_tiers())
def test_the_bundled_model_has_a_playbook_without_network_and_gpu(tier: str) -> None:
    facts = facts_of("bundled", tier)
    assert facts == facts_of("aprqa/aprqa-tiny", tier)
    template, source = find_template(tier, folder=None)
    text = write_playbook(template, facts, source=source)
    loaded = parse_playbook(text.encode(), path=_SOURCE)
    assert loaded.warnings == ()
    playbook = loaded.playbook
    assert playbook.name == f"aprqa-tiny-{tier}"
    assert playbook.model.local_path is None
    assert {*playbook.test_matrix.backends} == {"cpu"}


@pytest.mark.parametrize(
    ("repo", "name", "size"),
    [
        ("acme/Foo_Bar-7B-chat", "foo-bar-7b", SizeCategory.MEDIUM),
        ("acme/Tiny-135M-Instruct", "tiny-135m", SizeCategory.TINY),
        ("acme/Mix-8x7B-it", "mix-8x7b", SizeCategory.HUGE),
        ("acme/2B-hf", "2b", SizeCategory.SMALL),
    ],
)
def test_an_unknown_repository_is_read_by_its_name(repo: str, name: str, size: str) -> None:
    facts = facts_of(repo, "mvp")
    assert (facts.name, facts.size_category) == (name, size)
    assert facts.model == {}


def test_what_is_given_comes_before_what_is_known() -> None:
    facts = facts_of("Qwen/Qwen3-4B", "mvp", name="mine", size=SizeCategory.LARGE)
    assert (facts.name, facts.size_category) == ("mine", SizeCategory.LARGE)
    assert facts.model["expected_num_layers"] == 36
    assert facts_of("acme/x", "mvp", size=SizeCategory.HUGE).size_category is SizeCategory.HUGE


def test_a_gated_model_says_so_in_its_playbook() -> None:
    facts = facts_of("google/gemma-2-2b-it", "mvp")
    assert "HF_TOKEN" in write_playbook(_TEMPLATE, facts, source=_SOURCE).splitlines()[1]


def test_a_model_without_gguf_has_the_quantizations_of_the_template() -> None:
    assert "quantizations" not in facts_of("google/gemma-2-2b-it", "mvp").model
    assert facts_of("Qwen/Qwen3-4B", "mvp").model["formats"] == ["safetensors"]
    assert facts_of("Qwen/Qwen2.5-3B-Instruct", "full").model["quantizations"][0] == "f16"


@pytest.mark.parametrize("repo", ["foo", "a/b/c", "a/..", "", "a/b\nname: x", "a /b"])
def test_what_is_no_repository_is_refused(repo: str) -> None:
    with pytest.raises(InputError, match="is not a repository"):
        facts_of(repo, "mvp")


def test_a_size_that_nothing_tells_is_asked_for() -> None:
    with pytest.raises(InputError, match=r"does not tell the model's size \(add --size"):
        facts_of("acme/foo", "mvp")


def test_comments_and_order_of_a_template_stay() -> None:
    text = write_playbook(_TEMPLATE, facts_of("acme/x-1B", "smoke"), source=_SOURCE)
    assert text.startswith("# acme/x-1B, from own-template.yaml.\nname: x-1b-smoke\n")
    assert "hf_repo: acme/x-1B   # where it is\n" in text
    assert "\n\n# How much of it.\ntest_matrix:\n" in text
    assert "formats: [gguf]\n  size_category: tiny\n" in text


def test_sections_and_keys_are_added() -> None:
    facts = ModelFacts(
        repo="acme/x",
        name="x",
        size_category=SizeCategory.TINY,
        model={"family": "llama"},
        test_matrix={"scenario_count": 9, "prompts": ["What is 2 + 3?"]},
        sections={"kernel_profile": {"family": "llama", "kernel_ops": ["Rope"]}},
        remarks=["A remark."],
    )
    text = write_playbook(_TEMPLATE, facts, source=_SOURCE)
    playbook = parse_playbook(text.encode(), path=_SOURCE).playbook
    assert playbook.model.family == "llama"
    assert playbook.test_matrix.scenario_count == 9
    assert playbook.test_matrix.prompts == ("What is 2 + 3?",)
    assert playbook.kernel_profile is not None
    assert playbook.kernel_profile.kernel_ops == ("Rope",)
    assert text.splitlines()[1] == "# A remark."
    assert text.endswith("\n")
    assert "\n\n\n" not in text


def test_a_template_of_the_user_comes_first(tmp_path: Path) -> None:
    (tmp_path / "smoke-template.yaml").write_bytes(_TEMPLATE)
    assert find_template("smoke", folder=tmp_path) == (_TEMPLATE, tmp_path / "smoke-template.yaml")
    data, source = find_template("standard", folder=tmp_path)
    assert source == Path("mvp-template.yaml")
    assert b"metadata:\n  tier: mvp" in data
    with pytest.raises(InputError, match="there is no tier"):
        find_template("huge", folder=tmp_path)


def test_both_ways_of_filling_a_template_in_agree(tmp_path: Path) -> None:
    path = tmp_path / "own-template.yaml"
    path.write_bytes(_TEMPLATE)
    values = {"MODEL_NAME": "x-1b", "HF_REPO": "acme/x-1B", "SIZE_CATEGORY": "tiny"}
    text = write_playbook(_TEMPLATE, facts_of("acme/x-1B", "smoke"), source=_SOURCE)
    assert parse_playbook(text.encode(), path=path).playbook == load_template(path, values).playbook


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (b"name: x\n", "the template has no section `model`"),
        (b"- 1\n", "the template has no section `test_matrix`"),
        (_TEMPLATE + b"description: ${MODEL_NAMES}\n", r":14: .*\$\{MODEL_NAMES\}.*MODEL_NAME"),
        (b"name: [\n", "not valid YAML"),
        (_TEMPLATE.replace(b"[run]", b"[walk]"), "walk"),
    ],
)
def test_a_template_that_is_none_is_refused(template: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_playbook(template, facts_of("acme/x-1B", "smoke"), source=_SOURCE)


def test_a_playbook_with_a_warning_is_not_written() -> None:
    template = _TEMPLATE + b"failure_policy: collect-all\n"
    with pytest.raises(AprqaError, match="makes a playbook with warnings"):
        write_playbook(template, facts_of("acme/x-1B", "smoke"), source=_SOURCE)
