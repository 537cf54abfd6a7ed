"""qdq doctor."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from qdq.cli import _doctor

ROOT = Path(__file__).resolve().parents[2]


def requirements() -> dict[str, tuple[str, str | None]]:
    """Return name -> (minimum, extra) as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = [(text, None) for text in project["dependencies"]]
    for extra in ("torch", "server", "tflite", "qnn"):
        # Without markers of the platform.
        texts = project["optional-dependencies"][extra]
        rows += [(text.partition(";")[0], extra) for text in texts]
    found = {}
    for text, extra in rows:
        name, minimum = text.replace("==", ">=").removesuffix(".*").split(">=")
        found[name] = (minimum, extra)
    return found


def test_the_packages_are_those_of_the_project(qdq_json: Callable[..., Any]) -> None:
    checks = {row["name"]: row for row in qdq_json("doctor")["checks"]}
    for name, (minimum, extra) in requirements().items():
        assert f"at least {minimum};" in checks[name]["found"]
        assert checks[name]["required"] == (extra is None)
    others = checks.keys() - requirements().keys() - {"libatomic1", "QAIRT"}
    assert others == {"python", "temporary folder", "sandbox", ".netrc", "http_proxy"}
    if checks["onnxruntime-qnn"]["ok"]:
        assert "AI Stack License" in checks["QAIRT"]["found"]
        assert checks["libatomic1"]["remedy"] == "apt-get install libatomic1"


def test_a_sound_machine(qdq: Callable[..., Any], qdq_json: Callable[..., Any]) -> None:
    document = qdq_json("doctor")
    assert document["ok"]
    assert document["machine"]["cpu"]
    result = qdq("doctor")
    assert result.exit_code == 0
    assert document["machine"]["cpu"] in result.stdout
    assert "AVX512-VNNI" in result.stdout
    assert "everything required is there" in result.stdout


@pytest.mark.parametrize(
    ("name", "version", "code", "part"),
    [
        ("onnxruntime", None, 1, "pip install 'onnxruntime>=1.24'"),
        ("onnxruntime", "1.9.9", 1, "pip install 'onnxruntime>=1.24'"),
        ("onnxruntime", "1.24", 0, "everything required is there"),
        ("onnxruntime", "2.0.0rc1+local", 0, "everything required is there"),
        ("torch", None, 0, "pip install 'qdq[torch]'"),
    ],
)
def test_versions(
    qdq: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    *,
    name: str,
    version: str | None,
    code: int,
    part: str,
) -> None:
    real = metadata.version

    def fake(asked: str) -> str:
        if asked != name:
            return real(asked) if asked != "torch" else "2.13.0"
        if version is None:
            raise metadata.PackageNotFoundError(asked)
        return version

    monkeypatch.setattr(_doctor.metadata, "version", fake)
    monkeypatch.setattr(_doctor, "_import_errors", lambda modules: {})
    result = qdq("doctor")
    assert result.exit_code == code
    assert part in result.stdout


def test_a_package_that_cannot_be_imported(
    qdq_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "h5py.py").write_text("raise ImportError('libhdf5.so is missing')")
    (tmp_path / "onnxscript.py").write_text("import os; os._exit(9)")
    search = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", search)
    checks = {row["name"]: row for row in qdq_json("doctor", code=1)["checks"]}
    assert "ImportError: libhdf5.so is missing" in checks["h5py"]["found"]
    assert "--force-reinstall" in checks["h5py"]["remedy"]
    assert "the interpreter died (exit code 9)" in checks["onnxscript"]["found"]
    assert checks["numpy"]["ok"]


def test_a_read_only_temporary_folder(
    qdq_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_doctor.tempfile, "NamedTemporaryFile", refuse)
    document = qdq_json("doctor", code=1)
    assert not document["ok"]
    failed = [check for check in document["checks"] if check["required"] and not check["ok"]]
    assert [check["name"] for check in failed] == ["temporary folder"]
    assert "TMPDIR" in failed[0]["remedy"]


def check_of(qdq_json: Callable[..., Any], name: str) -> dict[str, Any]:
    return {row["name"]: row for row in qdq_json("doctor")["checks"]}[name]


@pytest.mark.parametrize(
    ("text", "harmed"),
    [
        ("machine 127.0.0.1 login a password hush", True),
        ("machine localhost login a password hush", True),
        ("default login a password hush", True),
        ("machine example.org login a password hush", False),
        ("nonsense", False),
    ],
)
def test_an_entry_in_netrc(
    qdq: Callable[..., Any],
    qdq_json: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    text: str,
    harmed: bool,
) -> None:
    path = tmp_path / "netrc"
    path.write_text(text + "\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    assert check_of(qdq_json, ".netrc")["ok"] != harmed
    shown = qdq("doctor").stdout
    assert ("WARNING" in shown) == harmed
    assert "hush" not in shown


@pytest.mark.parametrize(
    ("proxy", "exceptions", "harmed"),
    [
        ("http://u:hush@proxy:3128", None, True),
        ("http://u:hush@proxy:3128", "127.0.0.1", True),
        ("http://u:hush@proxy:3128", "localhost,127.0.0.1", False),
        (None, None, False),
    ],
)
def test_a_proxy(
    qdq_json: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    *,
    proxy: str | None,
    exceptions: str | None,
    harmed: bool,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if proxy:
        monkeypatch.setenv("http_proxy", proxy)
    if exceptions:
        monkeypatch.setenv("no_proxy", exceptions)
    check = check_of(qdq_json, "http_proxy")
    assert check["ok"] != harmed
    assert "hush" not in str(check)


def test_the_level_of_the_sandbox_is_told(
    qdq_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from qdq.worker import sandbox
    from qdq.worker.sandbox_view import SandboxLevel

    monkeypatch.setattr(sandbox, "sandbox_level", lambda: SandboxLevel.PROCESS)
    monkeypatch.setattr(sandbox, "probe", lambda: "it is not installed")
    check = check_of(qdq_json, "sandbox")
    assert not check["ok"]
    assert check["found"].startswith("process: ")
    assert "not installed" in check["found"]
