"""The quick end of a process does what the ordinary one does."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import atexit, sys, tempfile, threading
from pathlib import Path
from qdq.cli._leave import leave
atexit.register(lambda: print('registered'))
folder = tempfile.TemporaryDirectory()
print(folder.name)
{before}
try:
    sys.exit({code!r})
except SystemExit as end:
    leave(end.code)
    print('the ordinary way')
    raise
"""
THREAD = "threading.Thread(target=lambda: threading.Event().wait(0.3)).start()"


def _run(code, before=""):
    text = CODE.format(code=code, before=before)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("code", "wanted"), [(None, 0), (0, 0), (1, 1), (130, 130)])
def test_what_is_registered_runs_and_the_code_is_kept(code, wanted):
    done = _run(code)
    folder, registered = done.stdout.splitlines()
    assert (done.returncode, registered) == (wanted, "registered")
    assert not Path(folder).exists()


@pytest.mark.parametrize(("code", "before"), [("a message", ""), (2, THREAD)])
def test_messages_and_threads_take_the_ordinary_way(code, before):
    done = _run(code, before)
    assert done.stdout.splitlines()[1:] == ["the ordinary way", "registered"]
    assert done.returncode == (code if isinstance(code, int) else 1)


def test_output_comes_whole_through_a_pipe():
    process = subprocess.Popen(
        [sys.executable, "-m", "qdq", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    text, _ = process.communicate(timeout=60)
    assert b"compile" in text
    assert process.returncode == 0
