"""The rules of docs/design/architecture.md that imports can break."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "aprqa_ci"
# Data flows from left to right; a room imports rooms to its left. Rooms in one group are strangers.
ORDER = (
    ("playbook",),
    ("planning",),
    ("execution",),
    ("evidence",),
    ("scoring",),
    ("registry", "reports"),
    ("certification",),
    ("github",),
    ("selftest",),
    ("cli",),
)
POSITION = {room: position for position, group in enumerate(ORDER) for room in group}
BASE = {
    "data_files",
    "errors",
    "files",
    "gates",
    "json_lines",
    "json_text",
    "markdown",
    "plain_text",
    "quantizations",
    "redaction",
    "vocabulary",
    "wire",
}
# What is neither a room nor a base module: the facade, the program, and the schemas of all models.
ABOVE = {"__init__", "__main__", "schemas"}
# Who may import a library; each owns the format or the machinery that the library stands for.
OWNERS = {
    "click": r"cli/.*|execution/worker\.py",
    "rich": r"cli/.*",
    "yaml": r"data_files\.py|playbook/yaml_source\.py",
    "csv": r"registry/.*|reports/export_csv\.py",
    "pyarrow": r"reports/export_parquet\.py",
    "xml": r"reports/junit\.py",
    "tabulate": r"markdown\.py",
    "jinja2": r"execution/engines/.*",
    "xllamacpp": r"execution/engines/llamacpp.*\.py",
    "gguf": r"execution/formats/.*",
    "numpy": r"(execution|selftest)/.*",
    "subprocess": r"execution/(child|gpu_devices|engines/(apr|openai|server)_process)\.py"
    r"|certification/git_history\.py|selftest/trial_process\.py",
    "signal": r"cli/signals\.py|certification/side_by_side\.py|execution/.*"
    r"|selftest/trial_process\.py",
    "multiprocessing": r"certification/side_by_side\.py",
    "http": r"execution/engines/(openai|apr)_.*\.py",
    # For addresses alone, but in the engines.
    "urllib": r"execution/(engines/openai_.*|fetching/hugging_face)\.py"
    r"|github/(client|git_data)\.py",
    "huggingface_hub": r"execution/fetching/hugging_face\.py",
    "httpx2": r"execution/fetching/hugging_face\.py",
    "sigstore": r"certification/attestation\.py",
    "cryptography": r"certification/attestation\.py",
    "socket": r"execution/.*|registry/lock\.py|selftest/faulty_server\.py",
    "github": r"github/rest\.py",
    "requests": r"github/(rest|refusals)\.py",
    "urllib3": r"github/refusals\.py",
}
LONGEST = 400

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[tuple[int, str]]:
    """Every module that the module imports or names as text, with the line, wherever it stands."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if base == "aprqa_ci":  # `from aprqa_ci import markdown` names the module last
                yield from ((node.lineno, f"aprqa_ci.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, base
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"aprqa_ci(\.[a-z_]+)+", node.value)
        ):
            yield node.lineno, node.value


def part_of(dotted: str) -> str:
    """The room or the base module of ``aprqa_ci.planning.plan`` or ``planning/plan.py``."""
    return re.split(r"[./]", dotted.removeprefix("aprqa_ci.").removesuffix(".py"))[0]


def wrong_arrow(module: str, imported: str) -> bool:
    """Whether the import of that module of ours points from left to right."""
    here, there = part_of(module), part_of(imported)
    if here in ABOVE:
        return there == "cli" and here != "__main__"
    if there in {*BASE, "__version__", here}:
        return False
    return here in BASE or there in ABOVE or POSITION[there] >= POSITION[here]


def test_every_module_has_a_place() -> None:
    parts = {part_of(module) for module in MODULES}
    assert parts - POSITION.keys() - BASE - ABOVE == set()
    assert BASE | ABOVE | {"playbook", "cli"} <= parts


def test_no_import_points_from_left_to_right() -> None:
    wrong = [
        f"{module}:{line} imports {name}"
        for module in MODULES
        for line, name in imports(module)
        if name.startswith("aprqa_ci.") and wrong_arrow(module, name)
    ]
    assert wrong == []


def test_the_rule_knows_right_from_wrong() -> None:
    for module, imported in (
        ("planning/plan.py", "aprqa_ci.execution.run"),
        ("reports/junit.py", "aprqa_ci.registry.values"),
        ("certification/steps.py", "aprqa_ci.cli.main"),
        ("files.py", "aprqa_ci.planning.plan"),
        ("files.py", "aprqa_ci.schemas"),
        ("__init__.py", "aprqa_ci.cli.main"),
        ("playbook/load.py", "aprqa_ci.schemas"),
    ):
        assert wrong_arrow(module, imported), (module, imported)
    for module, imported in (
        ("execution/run.py", "aprqa_ci.planning.plan"),
        ("planning/plan.py", "aprqa_ci.wire"),
        ("files.py", "aprqa_ci.errors"),
        ("schemas.py", "aprqa_ci.scoring.certificate"),
        ("__main__.py", "aprqa_ci.cli.main"),
        ("certification/bundle.py", "aprqa_ci.__version__"),
    ):
        assert not wrong_arrow(module, imported), (module, imported)


def imported_at_once(module: str) -> set[str]:
    """The modules of ours that are loaded before the module's own body is done, packages too.

    What stands in a function or under ``TYPE_CHECKING`` is not; nor is a package that is being
    loaded already, for the module is in it.
    """
    found = set()
    for node in tree(module).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aprqa_ci."):
            base = (node.module or "").removeprefix("aprqa_ci.").replace(".", "/")
            found |= {f"{base}.py", *(f"{base}/{alias.name}.py" for alias in node.names)}
            above = [base, *(parent.as_posix() for parent in Path(base).parents)][:-1]
            found |= {f"{each}/__init__.py" for each in above}
    own = {f"{parent.as_posix()}/__init__.py" for parent in Path(module).parents}
    return found.intersection(MODULES) - own


def test_no_imports_go_in_a_circle() -> None:
    # With one, whether a command starts depends on which module was imported first.
    left = {module: imported_at_once(module) for module in MODULES}
    size = len(left) + 1
    while len(left) < size:
        size = len(left)
        wanted = set().union(*left.values())
        left = {
            module: imported & left.keys()
            for module, imported in left.items()
            if imported & left.keys() and module in wanted
        }
    assert left == {}


def test_no_import_is_relative() -> None:
    relative = [
        f"{module}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_by_its_owners_alone(library: str) -> None:
    users = {
        module for module in MODULES for _, name in imports(module) if name.split(".")[0] == library
    }
    assert {user for user in users if not re.fullmatch(OWNERS[library], user)} == set()


def test_workflow_commands_are_made_by_their_owner() -> None:
    # A line that starts with `::` is a command to the runner that reads it.
    made = [
        f"{module}:{node.lineno}"
        for module in MODULES
        if part_of(module) != "github"
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search(r"^::[a-z]", node.value, re.MULTILINE)
    ]
    assert made == []


def test_nothing_prints_by_the_way() -> None:
    printed = [
        f"{module}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Name) and node.id == "print"
    ]
    assert printed == []


def test_no_module_is_too_long() -> None:
    lengths = {
        module: len((PACKAGE / module).read_text(encoding="utf-8").splitlines())
        for module in MODULES
    }
    assert {module: length for module, length in lengths.items() if length > LONGEST} == {}


def test_the_document_has_the_same_order() -> None:
    text = (REPOSITORY / "docs" / "design" / "architecture.md").read_text(encoding="utf-8")
    for name in BASE:
        assert f"`{name}`" in text, name
    drawn = re.search(r"^playbook ─► .*$", text, re.MULTILINE)
    assert drawn is not None
    rooms = re.findall(r"[a-z]+", drawn[0])
    assert rooms == [room for group in ORDER for room in group if room != "github"]
