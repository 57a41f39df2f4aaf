"""Catching what native code writes to standard error."""

import os

import pytest

from aprqa_ci.execution.engines.native_log import caught_stderr


def test_what_is_written_below_python_is_caught_and_handed_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with caught_stderr() as log:
        os.write(2, b"cause \xff\n")
        assert log.text == ""
    assert log.text == "cause \ufffd\n"
    assert capfd.readouterr().err == "cause \ufffd\n"
    os.write(2, b"later\n")
    assert log.text == "cause \ufffd\n"
    assert capfd.readouterr().err == "later\n"


def test_standard_error_is_given_back_after_an_exception(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(IsADirectoryError), caught_stderr():
        os.open("/", os.O_WRONLY)
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "later\n"


def test_a_process_without_standard_error_catches_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_descriptor(_: int) -> int:
        raise OSError

    monkeypatch.setattr(os, "dup", no_descriptor)
    with caught_stderr() as log:
        pass
    assert log.text == ""
