from collections.abc import Callable
from pathlib import Path

import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.reports.json_report import render_json
from aprqa_ci.reports.junit import render_junit
from aprqa_ci.reports.markdown_report import render_markdown
from aprqa_ci.reports.run_report import RunReport
from aprqa_ci.reports.write import write_reports

Report = Callable[..., RunReport]


def test_three_files_are_written(make: Report, tmp_path: Path) -> None:
    report = make()
    paths = write_reports(tmp_path / "out", report, place="here")
    assert [path.name for path in paths] == ["report.md", "report.json", "junit.xml"]
    assert [path.read_bytes() for path in paths] == [
        render_markdown(report, directory="here").encode(),
        render_json(report),
        render_junit([report]),
    ]


def test_a_place_that_cannot_be_written(make: Report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the reports"):
        write_reports(tmp_path / "file", make())
