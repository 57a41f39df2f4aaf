import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import aprqa_ci

SOURCE = Path(aprqa_ci.__file__)


def test_every_public_name_is_there() -> None:
    for name in aprqa_ci.__all__:
        assert getattr(aprqa_ci, name) is not None
    assert dir(aprqa_ci) == sorted(aprqa_ci.__all__)


def test_type_checkers_see_the_same_names() -> None:
    (block,) = (
        node
        for node in ast.parse(SOURCE.read_text(encoding="utf-8")).body
        if isinstance(node, ast.If)
    )
    seen = {
        alias.name: (node.module or "").removeprefix("aprqa_ci.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert seen == aprqa_ci._HOMES


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'aprqa_ci' has no attribute 'certfy'"):
        _ = aprqa_ci.certfy


def test_nothing_is_imported_before_it_is_used() -> None:
    code = "import sys, aprqa_ci; print([name for name in sys.modules if 'aprqa_ci.' in name])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=SOURCE.parents[1],
    )
    assert done.stdout == "[]\n"


def test_the_distribution_has_the_packages_version() -> None:
    assert version("aprqa-ci") == aprqa_ci.__version__
