"""Comparing the files of one model: tests that playbooks declare and that need no engine."""

from aprqa_ci.execution.comparing.file_tests import judge_files
from aprqa_ci.execution.comparing.findings import FileTestFinding

__all__ = ["FileTestFinding", "judge_files"]
