"""The playbooks that real users of the format have."""

from collections import Counter
from pathlib import Path

import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.playbook.load import declared_tier, load_playbook, load_playbooks, load_template


def test_all_models_load(corpus: Path) -> None:
    loaded = load_playbooks([corpus / "models"])
    assert len(loaded) == 61
    kinds = Counter(warning.kind for entry in loaded for warning in entry.warnings)
    assert kinds == {
        "quoted-boolean": 342,
        "property-test-list": 16,
        "size-missing": 7,
    }
    places = [str(warning) for entry in loaded for warning in entry.warnings]
    assert len(set(places)) == len(places)
    sections = Counter(path for entry in loaded for path in entry.declared_not_run)
    assert sections == {
        "trace_payload": 17,
    }


def test_values_are_what_the_files_say(corpus: Path) -> None:
    loaded = load_playbook(corpus / "models" / "qwen2.5-coder-0.5b-mvp.playbook.yaml")
    playbook = loaded.playbook
    assert playbook.model.expected_vocab_size == 151936
    assert playbook.test_matrix.prompts is not None
    assert len(playbook.test_matrix.prompts) == 11
    assert playbook.test_matrix.timeout_ms == 60_000
    assert playbook.profile_ci is not None
    assert playbook.profile_ci.enabled is True
    assert playbook.profile_ci.assertions.min_throughput_gpu == 50.0
    assert playbook.metadata["tags"] == ("code", "instruct", "mvp")
    assert declared_tier(playbook) == "mvp"
    assert loaded.lines["model", "size_variant"] == 24


def test_exponents_are_numbers(corpus: Path) -> None:
    tolerances = {
        tests.inference_compare.tolerance
        for entry in load_playbooks([corpus / "models"])
        if (tests := entry.playbook.differential_tests) and tests.inference_compare
    }
    assert tolerances == {1e-5}


@pytest.mark.parametrize("folder", ["verify", "spec"])
def test_other_documents_are_called_so(corpus: Path, folder: str) -> None:
    files = sorted((corpus / folder).glob("*.yaml"))
    assert files
    for path in files:
        with pytest.raises(InputError, match="not a playbook: "):
            load_playbook(path)


def test_templates_load_when_filled_in(corpus: Path) -> None:
    values = {"MODEL_ID": "org/tiny", "HF_REPO": "org/tiny", "MODEL_NAME": "tiny"}
    files = sorted((corpus / "templates").glob("*.yaml"))
    assert len(files) == 5
    for path in files:
        with pytest.raises(InputError, match="placeholders are for templates"):
            load_playbook(path)
        text = path.read_text(encoding="utf-8")
        used = {name: value for name, value in values.items() if f"${{{name}}}" in text}
        assert load_template(path, used).playbook.model.hf_repo == "org/tiny"
