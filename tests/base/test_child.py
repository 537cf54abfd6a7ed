"""The child protocol: what comes back, how each death is told, that nothing is left running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qdq.base.child import Launch, end_group, run_child
from qdq.base.errors import (
    ChildCrashError,
    ChildMemoryError,
    ChildTimeoutError,
    InternalError,
    UnsupportedError,
)

_HERE = str(Path(__file__).parent)
_PACKAGE = str(Path(__file__).parents[2] / "src")


class _Recorder:
    def __init__(self):
        self.calls = []

    def step(self, name, total):
        self.calls.append(("step", name, total))

    def advance(self, units=1):
        self.calls.append(("advance", units))

    def notice(self, text):
        self.calls.append(("notice", text))


def _run(do, *, timeout_s=60, **rest):
    spec = {"do": do, **rest.pop("spec", {})}
    env = {"PYTHONPATH": os.pathsep.join((_PACKAGE, _HERE))}
    return run_child("child_work", spec, timeout_s=timeout_s, env=env, **rest)


def _is_gone(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state in "ZX"


def _wait_until_gone(*pids):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not all(map(_is_gone, pids)):
        time.sleep(0.02)
    return all(map(_is_gone, pids))


def test_result_progress_and_surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("QDQ_TEST_SECRET", "token")
    recorder = _Recorder()
    result = _run("echo", spec={"x": [1, None]}, workdir=tmp_path, progress=recorder)
    assert result["spec"] == {"do": "echo", "x": [1, None]}
    assert recorder.calls == [("step", "work", 3), ("advance", 2), ("notice", "mind [31m this")]
    assert "QDQ_TEST_SECRET" not in result["env"]
    assert result["env"]["TMPDIR"] == result["cwd"] == str(tmp_path.resolve())
    assert result["path0"] not in ("", str(tmp_path))
    assert result["session"]


def test_private_workdir_is_removed():
    folder = _run("echo")["cwd"]
    assert not Path(folder).exists()


def test_qdq_error_keeps_class_and_parts():
    with pytest.raises(UnsupportedError) as caught:
        _run("qdq_error")
    assert str(caught.value) == "Node 'n' (Foo), tensor 't': No Foo here. Remove it."
    assert caught.value.node == "n" and caught.value.remedy == "Remove it"


def test_unexpected_exception_is_internal():
    with pytest.raises(InternalError, match="KeyError: 'lost'"):
        _run("unexpected")


def test_nan_in_result_is_internal():
    with pytest.raises(InternalError, match="JSON compliant"):
        _run("nan")


def test_memory_error():
    with pytest.raises(ChildMemoryError):
        _run("memory", memory_bytes=2 << 30)


@pytest.mark.parametrize(
    ("do", "spec", "kind", "words"),
    [
        ("exit", {"code": 7}, ChildCrashError, "exit code 7; its last words: a last word"),
        ("exit", {"code": 0}, ChildCrashError, "without a result"),
        ("exit", {"code": 97}, ChildMemoryError, "out of memory"),
        ("segfault", {}, ChildCrashError, "SIGSEGV"),
        ("signal", {"signal": int(signal.SIGABRT)}, ChildCrashError, "SIGABRT"),
        ("signal", {"signal": int(signal.SIGKILL)}, ChildMemoryError, "SIGKILL"),
        ("close_parent", {}, ChildCrashError, "exit code 15"),
    ],
)
def test_death(do, spec, kind, words):
    with pytest.raises(kind, match=words):
        _run(do, spec=spec)


def test_timeout_ends_the_whole_session(tmp_path):
    pids = tmp_path / "pids"
    with pytest.raises(ChildTimeoutError, match="limit of 2 s"):
        _run("sleep", timeout_s=2, spec={"pids": str(pids)})
    assert _wait_until_gone(*map(int, pids.read_text().split()))


def test_grandchild_is_ended_with_a_good_result():
    begun = time.monotonic()
    assert _wait_until_gone(_run("leave_grandchild")["pid"])
    assert time.monotonic() - begun < 30


def test_child_dies_with_its_parent(tmp_path):
    pids = tmp_path / "pids"
    code = (
        "from qdq.base.child import run_child\n"
        f"run_child('child_work', {{'do': 'sleep', 'pids': {str(pids)!r}}}, timeout_s=60)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((_PACKAGE, _HERE))}
    with subprocess.Popen([sys.executable, "-c", code], env=env) as parent:
        deadline = time.monotonic() + 30
        while not (pids.exists() and pids.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        child, grandchild = map(int, pids.read_text().split())
        parent.kill()
    assert _wait_until_gone(child)
    if not _is_gone(grandchild):
        os.kill(grandchild, signal.SIGKILL)


def test_noise_is_bounded_and_ignored():
    recorder = _Recorder()
    assert _run("chatter", progress=recorder) == {}
    assert recorder.calls == [("advance", 1)] * 201


def test_progress_that_raises_ends_the_child(tmp_path):
    class Stop(_Recorder):
        def step(self, name, total):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run("echo", progress=Stop())


@pytest.mark.parametrize(
    "how",
    [
        "link",
        "fifo",
        "folder",
        "large",
        "",
        "{",
        "[]",
        "null",
        '{"result": 1}',
        '{"result": {"x": NaN}}',
        "[" * 100_000,
    ],
)
def test_forged_result_is_refused(tmp_path, how):
    with pytest.raises(ChildCrashError):
        _run("forge", spec={"how": how, "result": str(tmp_path / "result.json")}, workdir=tmp_path)


@pytest.mark.parametrize("name", ["Exception", "QdqError", "FailureType", "SystemExit", 3, None])
def test_forged_error_class_is_internal_or_known(tmp_path, name):
    text = f'{{"error": {{"error": {name!r}, "cause": "x\\u001b"}}}}'.replace("'", '"')
    text = text.replace("None", "null")
    spec = {"how": text, "result": str(tmp_path / "result.json"), "code": 1}
    with pytest.raises(InternalError, match="x ") as caught:
        _run("forge", spec=spec, workdir=tmp_path)
    assert "\x1b" not in str(caught.value)


def test_stale_result_is_not_taken(tmp_path):
    (tmp_path / "result.json").write_text('{"result": {}}')
    with pytest.raises(ChildCrashError):
        _run("exit", spec={"code": 0}, workdir=tmp_path)


def test_launch_replaces_the_surroundings(tmp_path):
    watched, ended, log = [], [], []

    def end(pid):
        ended.append(pid)
        end_group(pid)

    launch = Launch(
        prefix=("/usr/bin/env", "MARK=1"),
        environment={"ONLY": "this"},
        watch=watched.append,
        log=log.append,
        end=end,
    )
    env = _run("echo", workdir=tmp_path, launch=launch)["env"]
    assert env["MARK"] == "1" and env["ONLY"] == "this"
    assert "PATH" not in env and "TMPDIR" not in env
    assert set(watched) == set(ended) and len(ended) == 1
    assert b"noise on stdout" in b"".join(log)


def test_watch_ends_the_child_by_raising():
    def watch(pid):
        raise ChildMemoryError(f"too much in {pid}")

    with pytest.raises(ChildMemoryError, match="too much"):
        _run("sleep", launch=Launch(watch=watch), spec={"pids": "/dev/null"})


def test_exit_code_of_a_prefix_tells_the_signal():
    shell = ("/bin/sh", "-c", "exit $((128 + 11))")
    with pytest.raises(ChildCrashError, match="SIGSEGV"):
        _run("echo", launch=Launch(prefix=shell))
