import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.playbook.load import (
    LoadedPlaybook,
    declared_tier,
    load_playbook,
    load_playbooks,
    load_template,
    parse_playbook,
)
from aprqa_ci.playbook.warning import WarningKind
from aprqa_ci.vocabulary import Backend, FailurePolicy, Modality, ModelFormat, SizeCategory

FLOW_STYLE = """\
name: qwen2.5-coder-0.5b-mvp
version: "1.0.0"
model: {hf_repo: "Qwen/Qwen2.5-Coder-0.5B-Instruct", formats: [safetensors, apr, gguf], \
size_category: tiny, family: qwen2, size_variant: "0.5b"}
test_matrix: {modalities: [run, chat], backends: [cpu], scenario_count: 3}
"""

MINIMAL = """\
name: tiny
version: "1.0.0"
model: {hf_repo: org/tiny, size_category: tiny}
test_matrix: {}
"""

TEMPLATE = """\
name: ${NAME}-mvp
version: "1.0.0"
model: {hf_repo: "${REPO}", size_category: auto}
test_matrix: {scenario_count: "${COUNT}"}
"""


def parse(text: str) -> LoadedPlaybook:
    return parse_playbook(text.encode(), path=Path("p.yaml"))


def problems(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse(text)
    return [str(problem) for problem in caught.value.problems]


def test_the_flow_style_loads_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "q.playbook.yaml"
    path.write_text(FLOW_STYLE)
    loaded = load_playbook(path)
    playbook = loaded.playbook
    assert playbook.name == "qwen2.5-coder-0.5b-mvp"
    assert playbook.model.hf_repo == "Qwen/Qwen2.5-Coder-0.5B-Instruct"
    assert playbook.model.formats == (ModelFormat.SAFETENSORS, ModelFormat.APR, ModelFormat.GGUF)
    assert playbook.model.size_category is SizeCategory.TINY
    assert (playbook.model.family, playbook.model.size_variant) == ("qwen2", "0.5b")
    assert playbook.test_matrix.modalities == (Modality.RUN, Modality.CHAT)
    assert playbook.test_matrix.backends == (Backend.CPU,)
    assert playbook.test_matrix.scenario_count == 3
    assert loaded.warnings == ()
    assert loaded.declared_not_run == ()
    assert loaded.digest == hashlib.sha256(FLOW_STYLE.encode()).hexdigest()
    assert loaded.path == path
    assert loaded.lines["test_matrix", "scenario_count"] == 4


def test_all_problems_of_a_file_in_the_order_of_its_lines() -> None:
    text = """\
name: Tiny
versoin: "1.0.0"
model: {hf_repo: org/tiny, size_category: auto}
test_matrix:
  modalities:
    - run
    - stream
  seed: ${SEED}
oracles:
  - {type: garbage}
  - {type: garbage}
property_tests:
  - name: a
    generator: arithmetic()
    oracle: correct
  - {name: b}
metadata: {tier: [mvp]}
description: "\\u0007"
"""
    assert problems(text) == [
        (
            "p.yaml:1: `name` is 'Tiny'; expected 1 to 96 of a-z 0-9 . _ -, the first a letter or"
            " digit"
        ),
        "p.yaml:1: `version` is missing",
        "p.yaml:2: unknown key `versoin` (perhaps 'version' is meant)",
        (
            "p.yaml:3: `model.size_category` is 'auto'; allowed: huge, large, medium, small, tiny,"
            " xlarge"
        ),
        "p.yaml:7: `test_matrix.modalities[1]` is 'stream'; allowed: chat, run, serve",
        (
            "p.yaml:8: `test_matrix.seed` has the placeholder ${SEED} (placeholders are for"
            " templates; write the value, or $${SEED} for that text)"
        ),
        (
            "p.yaml:11: `oracles[1]` is the oracle 'garbage' again (put all settings of one oracle"
            " together)"
        ),
        "p.yaml:16: `property_tests.tests[1].generator` is missing",
        "p.yaml:16: `property_tests.tests[1].oracle` is missing",
        "p.yaml:17: `metadata.tier` must be the name of a tier, as text",
        "p.yaml:18: `description` holds the control character U+0007",
    ]


@pytest.mark.parametrize(
    "change",
    ["oracles: [{type: garbage}, {type: garbage}]", "metadata: {tier: 3}", "metadata: {tier: ''}",
     "metadata: {a: '${X}'}", 'description: "\\x1b"', 'metadata: {"\\x1b": 1}',
     'trace_payload: {prompt: "\\0"}'],
)  # fmt: skip
def test_rules_beyond_the_types(change: str) -> None:
    assert parse(MINIMAL).warnings == ()
    (found,) = problems(MINIMAL + change)
    assert found.startswith("p.yaml:5: ")


def test_problems_are_bounded() -> None:
    found = problems("\n".join(f"unknown-{n}: 1" for n in range(500)))
    assert len(found) == 101
    assert found[-1] == "p.yaml: there are at least 404 more problems"


def test_lists_that_no_field_can_hold() -> None:
    long = ", ".join(["gguf"] * 1001)
    assert problems(f"model: {{formats: [{long}]}}") == [
        "p.yaml:1: `model.formats` has 1001 items; no list here takes so many"
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[1]", "p.yaml:1: not a playbook: the file is a list, not a mapping"),
        ("hello", "p.yaml:1: not a playbook: the file is a single value, not a mapping"),
        (
            "name: x\nverification_gates: []",
            (
                "p.yaml:2: not a playbook: it is a verification document, as its section"
                " `verification_gates` shows"
            ),
        ),
        (
            "spec: {}",
            "p.yaml:1: not a playbook: it is a specification, as its section `spec` shows",
        ),
        (
            "entries: {}",
            "p.yaml:1: not a playbook: it is a lock file, as its section `entries` shows",
        ),
    ],
)
def test_other_documents(text: str, what: str) -> None:
    assert problems(text) == [what]


def test_warnings_have_lines_and_come_in_their_order() -> None:
    loaded = parse(
        MINIMAL.replace(", size_category: tiny", "")
        + "failure_policy: stop-on-p0\n"
        + "gates:\n  g1_model_loads: 'true'\n  g2_basic_inference: 'no'\n"
    )
    assert [str(warning) for warning in loaded.warnings] == [
        (
            "p.yaml:3: `model.size_category` is missing; tiny is taken (give the size, for"
            " performance limits depend on it)"
        ),
        "p.yaml:5: `failure_policy` is spelled 'stop-on-p0' (write stop_on_p0)",
        "p.yaml:7: `gates.g1_model_loads` is the text 'true' (write true without quotes)",
        "p.yaml:8: `gates.g2_basic_inference` is the text 'no' (write false without quotes)",
        (
            "p.yaml:8: `gates.g2_basic_inference` is false: a gateway that is off is never passed,"
            " so no run of this playbook can be certified (leave it out to certify)"
        ),
    ]
    assert loaded.playbook.failure_policy is FailurePolicy.STOP_ON_P0
    assert loaded.playbook.gates.g1_model_loads is True
    assert loaded.declared_not_run == ()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.yaml: cannot read the file"):
        load_playbook(tmp_path / "absent.yaml")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (256 * 1024 + 1))
    with pytest.raises(InputError, match="larger than 262144 bytes"):
        load_playbook(large)


def test_local_paths_start_at_the_playbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "books").mkdir()
    path = tmp_path / "books" / "a.playbook.yaml"
    path.write_text(MINIMAL.replace("org/tiny,", "org/tiny, local_path: ../models/tiny,"))
    monkeypatch.chdir(tmp_path)
    loaded = load_playbook(Path("books/a.playbook.yaml"))
    assert loaded.local_path == tmp_path.resolve() / "models" / "tiny"
    assert parse(MINIMAL).local_path is None
    absolute = parse(MINIMAL.replace("org/tiny,", "org/tiny, local_path: /models/x.gguf,"))
    assert absolute.local_path == Path("/models/x.gguf")


def test_a_link_at_the_end_of_a_local_path_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "blob").touch()
    (tmp_path / "model.gguf").symlink_to("blob")
    path = tmp_path / "a.yaml"
    path.write_text(MINIMAL.replace("org/tiny,", "org/tiny, local_path: model.gguf,"))
    found = load_playbook(path).local_path
    assert found is not None
    assert found.name == "model.gguf"


class TestTemplates:
    @pytest.fixture
    def template(self, tmp_path: Path) -> Path:
        path = tmp_path / "t.yaml"
        path.write_text(TEMPLATE)
        return path

    def test_is_filled_in(self, template: Path) -> None:
        loaded = load_template(template, {"NAME": "tiny", "REPO": "org/tiny", "COUNT": "7"})
        assert loaded.playbook.name == "tiny-mvp"
        assert loaded.playbook.model.hf_repo == "org/tiny"
        assert loaded.playbook.test_matrix.scenario_count == 7
        assert [warning.kind for warning in loaded.warnings] == [WarningKind.AUTO_SIZE]

    def test_the_digest_covers_what_is_put_in(self, template: Path) -> None:
        values = {"NAME": "tiny", "REPO": "org/tiny", "COUNT": "7"}
        digest = load_template(template, values).digest
        assert load_template(template, dict(reversed(values.items()))).digest == digest
        assert load_template(template, {**values, "COUNT": "8"}).digest != digest

    def test_what_is_put_in_is_checked(self, template: Path) -> None:
        values = {"NAME": "a: [b]", "REPO": "a/b\nx: y", "COUNT": "many"}
        with pytest.raises(InputError) as caught:
            load_template(template, values)
        assert [problem.line for problem in caught.value.problems] == [1, 3, 4]

    def test_missing_and_unknown_placeholders(self, template: Path) -> None:
        with pytest.raises(InputError) as caught:
            load_template(template, {"NAME": "tiny", "REPOS": "org/tiny", "COUNT": "7"})
        assert [problem.what for problem in caught.value.problems] == [
            "there is no placeholder ${REPOS} in the template",
            "`model.hf_repo` has the placeholder ${REPO}, which has no value",
        ]

    def test_is_no_playbook(self, template: Path) -> None:
        with pytest.raises(InputError, match="placeholders are for templates"):
            load_playbook(template)


class TestSeveral:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("b", "a", "deep/c"):
            path = tmp_path / f"{name}.playbook.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(MINIMAL.replace("name: tiny", f"name: {path.name[0]}"))
        (tmp_path / "other.yaml").write_text("not: a playbook")
        return tmp_path

    @staticmethod
    def names(patterns: list[Path | str]) -> list[str]:
        return [loaded.playbook.name for loaded in load_playbooks(patterns)]

    def test_files_folders_and_globs(self, folder: Path) -> None:
        assert self.names([folder]) == ["a", "b", "c"]
        assert self.names([folder / "b.playbook.yaml", folder]) == ["b", "a", "c"]
        assert self.names([f"{folder}/*.playbook.yaml"]) == ["a", "b"]
        assert self.names([f"{folder}/**/*.playbook.yaml"]) == ["a", "b", "c"]
        assert self.names([f"{folder}/deep/../a.playbook.yaml", str(folder)]) == ["a", "b", "c"]

    def test_names_with_brackets_are_files_first(self, folder: Path) -> None:
        (folder / "[x].yaml").write_text(MINIMAL)
        assert self.names([folder / "[x].yaml"]) == ["tiny"]

    def test_nothing_found_is_an_error(self, folder: Path) -> None:
        (folder / "empty").mkdir()
        with pytest.raises(InputError) as caught:
            load_playbooks(
                [folder / "empty", f"{folder}/*.json", folder / "x.yaml", folder / "deep/*"]
            )
        assert [str(problem) for problem in caught.value.problems] == [
            f"{folder}/empty: the folder has no *.playbook.yaml in it",
            f"{folder}/*.json: no file matches",
            f"{folder}/x.yaml: there is no such file",
        ]

    def test_problems_of_all_files_together(self, folder: Path) -> None:
        (folder / "a.playbook.yaml").write_text("name: [")
        (folder / "b.playbook.yaml").write_text(MINIMAL + "x: 1")
        with pytest.raises(InputError) as caught:
            load_playbooks([folder])
        paths = [Path(problem.path or "").name for problem in caught.value.problems]
        assert paths == ["a.playbook.yaml", "b.playbook.yaml"]

    def test_equal_names_are_an_error_that_names_both(self, folder: Path) -> None:
        (folder / "z.playbook.yaml").write_text("# copy\n" + MINIMAL.replace("tiny\n", "a\n", 1))
        with pytest.raises(InputError) as caught:
            load_playbooks([folder])
        (problem,) = caught.value.problems
        assert (problem.path, problem.line) == (folder / "z.playbook.yaml", 2)
        assert str(folder / "a.playbook.yaml") in problem.what


@pytest.mark.parametrize(
    ("name", "metadata", "tier"),
    [
        ("a-quick", "", "quick"),
        ("a-smoke", "", "smoke"),
        ("a-mvp", "", "mvp"),
        ("a-full", "", "full"),
        ("a-ci", "", "ci"),
        ("a-7b", "", None),
        ("mvp-a", "", None),
        ("a-quick", "metadata: {tier: standard}", "standard"),
    ],
)
def test_declared_tiers(name: str, metadata: str, tier: str | None) -> None:
    loaded = parse(MINIMAL.replace("name: tiny", f"name: {name}") + metadata)
    assert declared_tier(loaded.playbook) == tier


@given(st.text() | st.lists(st.sampled_from(MINIMAL.splitlines())).map("\n".join))
def test_any_text_is_a_playbook_or_an_input_error(text: str) -> None:
    try:
        found: object = parse_playbook(
            text.encode("utf-8", "surrogatepass"), path=Path("p.yaml")
        ).playbook.name
    except InputError as error:
        found = error.problems
    assert found


@given(st.data())
def test_a_damaged_playbook_never_fails_otherwise(data: st.DataObject) -> None:
    text = MINIMAL + "oracles: [{type: garbage, config: {min_unique_chars: 3}}]\n"
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    put = data.draw(st.text(alphabet="abgru/-.:[]{}&*!'\"\n #,10~", max_size=12))
    try:
        found: object = parse(text[:start] + put + text[end:]).playbook.name
    except InputError as error:
        found = error.problems
    assert found
