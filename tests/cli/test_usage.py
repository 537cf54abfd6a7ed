"""Help, wrong usage, exit codes, and the documents of the command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from qdq.cli import app

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "quantize",
    "sweep",
    "compile",
    "run",
    "profile",
    "compare",
    "inspect",
    "doctor",
    "explain",
    "lint",
    "sensitivity",
    "pareto",
    "link",
    "placement",
)
COMMANDS += ("serve", "client-config", "devices", "gc", "jobs")
GROUP: Any = typer.main.get_command(app)
JOBS = {f"jobs {name}": command for name, command in GROUP.commands["jobs"].commands.items()}
PARAMETERS = [
    (name, parameter)
    for name, command in [*GROUP.commands.items(), *JOBS.items()]
    for parameter in command.params
]


def test_the_commands_are_these() -> None:
    assert tuple(GROUP.commands) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_a_document(name: str, qdq: Callable[..., Any]) -> None:
    assert GROUP.commands[name].help.endswith(".")
    result = qdq(name, "--help")
    assert result.exit_code == 0
    assert GROUP.commands[name].help.split(";")[0] in " ".join(result.stdout.split())
    assert f"\n## {name}\n" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", JOBS)
def test_every_command_of_jobs_has_help_and_a_document(name: str, qdq: Callable[..., Any]) -> None:
    assert JOBS[name].help.endswith(".")
    assert qdq(*name.split(), "--help").exit_code == 0
    assert f"\n### {name}\n" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "parameter"), PARAMETERS, ids=[f"{name}-{it.name}" for name, it in PARAMETERS]
)
def test_every_parameter_has_help_and_a_document(name: str, parameter: Any) -> None:
    assert parameter.help.endswith(".") or parameter.help.endswith("100.")
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    level = "###" if name in JOBS else "##"
    section = text.split(f"\n{level} {name}\n")[1].split("\n##")[0]
    general = text.split("\n## quantize\n")[0]
    for word in parameter.opts if parameter.opts[0].startswith("-") else ():
        place = general if word == "--json" else section
        assert f"`{word}" in place


@pytest.mark.parametrize("word", ["--version", "--debug", "--help"])
def test_options_of_the_command_itself_are_documented(word: str) -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert word in text.split("\n## quantize\n")[0]


def test_version(qdq: Callable[..., Any]) -> None:
    from qdq import __version__

    result = qdq("--version")
    assert result.exit_code == 0
    assert result.stdout == f"qdq {__version__}\n"


def test_no_command_is_wrong_usage(qdq: Callable[..., Any]) -> None:
    result = qdq()
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "quantize" in result.stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("quantise",), "Did you mean 'quantize'"),
        (("quantize", "m.onnx", "-o", "o.onnx"), "'--calibration'"),
        (("quantize", "--calibration", "c.npz", "-o", "o.onnx"), "MODEL"),
        (("quantize", "m.onnx", "--calibration", "c.npz"), "'--output'"),
        (("run", "m.onnx", "--inputs", "d.npz", "-o", "o.npz", "--threads", "-1"), "'--threads'"),
        (("profile", "m.onnx", "--iterations", "0"), "'--iterations'"),
        (("inspect", "m.onnx", "extra"), "extra"),
        (("compile", "m.pt", "-o", "o.onnx", *("--input-spec", "x:1x3") * 2), "'x' has 2 specs"),
        (("doctor", "--frobnicate"), "--frobnicate"),
    ],
)
def test_wrong_usage(qdq: Callable[..., Any], words: tuple[str, ...], part: str) -> None:
    result = qdq(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert part in result.stderr
    assert "Traceback" not in result.stderr
    as_json = qdq(*words, "--json")
    assert as_json.exit_code == 2
    document = json.loads(as_json.stdout)
    assert document["error"] == "UsageError"
    assert part in document["message"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, qdq, qdq.cli, typer\n"
        "typer.main.get_command(qdq.cli.app)\n"
        "try:\n    qdq.cli.app(['--help'])\n"
        "except SystemExit as exit: assert not exit.code\n"
        "heavy = {'numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'onnxscript', 'h5py', 'torch'}\n"
        "found = heavy & set(sys.modules)\n"
        "sys.exit(f'imported {found}' if found else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "quantize" in done.stdout


def test_the_command_as_a_process(qdq_process: Callable[..., Any]) -> None:
    assert qdq_process("--version").returncode == 0
    wrong = qdq_process("frobnicate")
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert "qdq: No such command 'frobnicate'." in wrong.stderr
