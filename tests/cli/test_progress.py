"""Bars on a terminal only; notices always, but never in JSON's way."""

from __future__ import annotations

import io
import sys

import pytest

from qdq.cli._progress import show_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(*, as_json: bool = False) -> None:
    with show_progress(as_json=as_json) as progress:
        progress.step("calibrate", 4)
        progress.advance(3)
        progress.notice("mind [this]")
        progress.step("report", 2)
        progress.advance()


def test_without_a_terminal_only_notices(capsys: pytest.CaptureFixture[str]) -> None:
    work()
    captured = capsys.readouterr()
    assert captured.err == "notice: mind [this]\n"
    assert captured.out == ""


def test_with_json_and_without_a_terminal_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    work(as_json=True)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out == ""


def test_on_a_terminal_bars_are_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    work()
    shown = terminal.getvalue()
    assert "calibrate" in shown
    assert "report" in shown
    assert "notice: mind [this]" in shown
    assert capsys.readouterr().out == ""
