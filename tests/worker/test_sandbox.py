"""What a hostile child can do: under each level its time, memory, disk and processes are bounded;
under bubblewrap it sees, reaches and writes nothing of ours."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qdq.base.errors import (
    ChildCrashError,
    ChildMemoryError,
    ChildTimeoutError,
    InternalError,
    OutputError,
    UnsupportedError,
)
from qdq.worker import (
    Limits,
    SandboxLevel,
    describe_sandbox,
    open_log,
    open_output,
    run_stage,
    sandbox_level,
)
from qdq.worker.sandbox_tree import descendants, tree_memory
from qdq.worker.sandbox_view import bubblewrap_prefix, probe

_SOURCE = str(Path(__file__).parents[2] / "src")

# Ignores every signal it can, leaves the session twice, and closes what the parent listens to.
_DAEMON = """
def daemon(mark, seconds=100):
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in (0, 1, 2):
        os.close(number)
    progress = Path(mark)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        progress.write_text(str(time.monotonic()))
        time.sleep(0.02)
    os._exit(0)
"""


def _stops_growing(path: Path) -> bool:
    """Whether nobody rewrites ``path`` any more."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        before = path.read_text()
        time.sleep(0.3)
        if path.read_text() == before:
            return True
    return False


def _room(tmp_path):
    return tmp_path / "scratch" / "room"


def test_level_is_told():
    level, sentence = describe_sandbox()
    assert level is sandbox_level()
    assert ("no network" in sentence) is (probe() is None)
    assert level.value in sentence or str(probe()) in sentence


def test_environment_is_empty(confined, level, monkeypatch, tmp_path):
    monkeypatch.setenv("QDQ_TEST_SECRET", "token")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy")
    code = "def work(spec, progress): return {'env': dict(os.environ), 'cwd': os.getcwd()}"
    found = confined(code, level=level, limits=Limits(wall_s=60, threads=3))
    names = {"HOME", "LANG", "PATH", "PYTHONPATH", "TMPDIR", "PWD", "LC_CTYPE", "OMP_NUM_THREADS"}
    assert {name for name in found["env"] if not name.startswith("PYTHON")} - names <= {
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "QDQ_PARENT_PID",
    }
    assert found["env"]["OMP_NUM_THREADS"] == "3"
    assert not any("token" in value or "proxy" in value for value in found["env"].values())
    here = level is SandboxLevel.PROCESS
    assert found["cwd"] == (str(_room(tmp_path)) if here else "/room")


def test_view_holds_nothing_of_ours(confined, bubblewrap, tmp_path, relu):
    canary = tmp_path / "canary.txt"
    canary.write_text("secret")
    code = """
def work(spec, progress):
    seen = {}
    for path in (spec["canary"], "/etc/passwd", "/etc/shadow", "/root/.ssh", "/home", "/var"):
        try:
            os.stat(path)
            seen[path] = True
        except OSError:
            seen[path] = False
    return {"seen": seen, "root": sorted(os.listdir("/")), "pids": os.listdir("/proc"),
            "model": Path("inputs/model").read_bytes().hex()}
"""
    found = confined(code, level=bubblewrap, spec={"canary": str(canary)}, inputs=[(relu, "model")])
    assert not any(found["seen"].values()), found["seen"]
    assert "room" in found["root"]
    assert len([pid for pid in found["pids"] if pid.isdigit()]) <= 3
    assert bytes.fromhex(found["model"]) == relu.read_bytes()


def test_no_network(confined, bubblewrap, listener):
    code = """
def work(spec, progress):
    told = []
    for host in ("127.0.0.1", "localhost", "192.0.2.1"):
        try:
            socket.create_connection((host, spec["port"]), timeout=2)
            told.append("connected")
        except OSError as error:
            told.append(type(error).__name__)
    names = [name for _, name in socket.if_nameindex()]
    return {"told": told, "interfaces": names}
"""
    found = confined(code, level=bubblewrap, spec={"port": listener.port})
    assert "connected" not in found["told"]
    assert found["interfaces"] == ["lo"]
    assert listener.connections == 0


def test_only_the_room_can_be_written(confined, bubblewrap, tmp_path, relu):
    before = relu.read_bytes()
    code = """
def work(spec, progress):
    written = []
    places = ["/x", "/usr/x", "/etc/x", "/dev/x", "/dev/shm/x", "/proc/x", sys.prefix + "/x",
              "inputs/model", "/home/x", "/var/x", "/sys/x", spec["outside"] + "/x"]
    places += [os.path.dirname(os.__file__) + "/x"]
    for place in places:
        try:
            with open(place, "w") as file:
                file.write("x")
            written.append(place)
        except OSError:
            pass
    for place in ("x", "/tmp/x", "/room/tmp/y"):
        Path(place).write_text("x")
    for call in (lambda: os.unlink("inputs/model"), lambda: os.rename("inputs/model", "m"),
                 lambda: os.chmod("inputs/model", 0o777), lambda: os.mknod("null", 0o20666, 0x103)):
        try:
            call()
            written.append("inputs changed")
        except OSError:
            pass
    return {"written": written}
"""
    found = confined(
        code, level=bubblewrap, spec={"outside": str(tmp_path)}, inputs=[(relu, "model")]
    )
    assert found["written"] == []
    assert relu.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0123abcd", "scratch"]


def test_no_way_out_of_the_namespaces(confined, bubblewrap):
    code = """
def work(spec, progress):
    libc = ctypes.CDLL(None, use_errno=True)
    told = {"unshare": libc.unshare(0x10000000), "mount": libc.mount(b"x", b"/tmp", b"tmpfs", 0, 0),
            "chroot": libc.chroot(b"/tmp"), "kill": 0}
    status = Path("/proc/self/status").read_text()
    lines = status.splitlines()
    caps = [line.split()[1] for line in lines if line.startswith(("CapEff", "CapBnd"))]
    return {"told": told, "caps": caps, "new": "NoNewPrivs:\\t1" in status}
"""
    found = confined(code, level=bubblewrap)
    assert found["told"] == {"unshare": -1, "mount": -1, "chroot": -1, "kill": 0}
    assert {int(caps, 16) for caps in found["caps"]} == {0}
    assert found["new"]


def test_timeout_of_a_child_that_ignores_signals(confined, level, tmp_path):
    code = (
        _DAEMON
        + """
def work(spec, progress):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    daemon("mark")
    time.sleep(100)
"""
    )
    begun = time.monotonic()
    with pytest.raises(ChildTimeoutError, match="limit of 2 s"):
        confined(code, level=level, limits=Limits(wall_s=2))
    assert time.monotonic() - begun < 20
    assert _stops_growing(_room(tmp_path) / "mark")


@pytest.mark.parametrize("ending", ["return {}", "os._exit(3)", "os.kill(os.getpid(), 11)"])
def test_daemons_end_with_the_stage(confined, level, tmp_path, ending):
    code = (
        _DAEMON
        + f"""
def work(spec, progress):
    daemon("mark")
    while not Path("mark").exists():
        time.sleep(0.01)
    {ending}
"""
    )
    if ending == "return {}":
        assert confined(code, level=level) == {}
    else:
        with pytest.raises(ChildCrashError, match=r"exit code 3|SIGSEGV"):
            confined(code, level=level)
    assert _stops_growing(_room(tmp_path) / "mark")


def test_everything_ends_with_the_parent(level, tmp_path):
    script = f"""
import os
from pathlib import Path
from qdq.worker import SandboxLevel
from qdq.worker.sandbox import run_confined
from qdq.worker.sandbox_outputs import make_folders
from qdq.worker.sandbox_view import ROOM, import_paths
scratch = Path({str(tmp_path / "scratch")!r})
level = SandboxLevel({level.value!r})
room = make_folders(scratch)
code = '''
import os, signal, time
from pathlib import Path
from qdq.base.child_side import child_main
{_DAEMON}
def work(spec, progress):
    daemon("mark")
    time.sleep(100)
if __name__ == "__main__":
    child_main(work)
'''
(room / "hostile_work.py").write_text(code)
home = ROOM if level is SandboxLevel.BUBBLEWRAP else str(room)
env = {{"PYTHONPATH": os.pathsep.join([*import_paths(), home])}}
run_confined("hostile_work", {{}}, scratch=scratch, level=level, env=env)
"""
    mark = _room(tmp_path) / "mark"
    environment = {**os.environ, "PYTHONPATH": _SOURCE}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as parent:
        deadline = time.monotonic() + 30
        while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not _stops_growing_within(mark, 0.3)
        parent.kill()
    assert _stops_growing(mark)


def _stops_growing_within(path: Path, seconds: float) -> bool:
    before = path.read_text()
    time.sleep(seconds)
    return path.read_text() == before


@pytest.mark.parametrize("where", ["child", "daemon", "shared"])
def test_memory_of_the_whole_tree_is_bounded(confined, level, where):
    code = """
def hog():
    import mmap
    held = []
    for _ in range(100):
        if WHERE == "shared":
            held.append(mmap.mmap(-1, 32 << 20))
            held[-1].write(b"x" * (32 << 20))
        else:
            held.append(b"x" * (32 << 20))
        time.sleep(0.02)
    time.sleep(100)

def work(spec, progress):
    if WHERE == "daemon" and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            hog()
        os._exit(0)
    if WHERE == "daemon":
        time.sleep(100)
    hog()
""".replace("WHERE", repr(where))
    begun = time.monotonic()
    with pytest.raises(ChildMemoryError, match="limit of 256 MiB"):
        confined(code, level=level, limits=Limits(wall_s=60, memory_bytes=256 << 20))
    assert time.monotonic() - begun < 30


def test_disk_is_bounded(confined, level):
    code = """
def work(spec, progress):
    for index in range(1000):
        (Path(os.environ["TMPDIR"]) / f"{index}").write_bytes(b"x" * (8 << 20))
        time.sleep(0.05)
    time.sleep(100)
"""
    with pytest.raises(OutputError, match="limit of 64 MiB"):
        confined(code, level=level, limits=Limits(wall_s=60, output_bytes=64 << 20))


def test_too_many_files_are_too_much(confined, level):
    code = """
def work(spec, progress):
    for index in range(21_000):
        os.symlink("x", str(index))
    return {}
"""
    with pytest.raises(OutputError):
        confined(code, level=level)


def test_signals_are_told_by_name(confined, level):
    with pytest.raises(ChildCrashError, match="SIGABRT"):
        confined("def work(spec, progress): os.abort()", level=level)
    with pytest.raises(ChildMemoryError, match="SIGKILL"):
        confined("def work(spec, progress): os.kill(os.getpid(), 9)", level=level)


def test_check_ends_the_stage(confined, level):
    class CancelledError(Exception):
        pass

    begun = time.monotonic()

    def check():
        if time.monotonic() > begun + 1:
            raise CancelledError

    with pytest.raises(CancelledError):
        confined("def work(spec, progress): time.sleep(100)", level=level, check=check)
    assert time.monotonic() - begun < 20


def test_log_grows_and_is_bounded(confined, level, tmp_path):
    code = """
def work(spec, progress):
    print("first", file=sys.stderr, flush=True)
    while not Path("go").exists():
        time.sleep(0.01)
    for _ in range(200):
        os.write(2, b"x" * 1000)
    return {}
"""
    log = tmp_path / "scratch" / "log.txt"
    seen = []

    def check():
        if log.exists() and b"first" in log.read_bytes() and not seen:
            seen.append(True)
            (_room(tmp_path) / "go").touch()

    confined(code, level=level, check=check, limits=Limits(wall_s=60, log_bytes=10_000))
    with open_log(tmp_path / "scratch") as file:
        text = file.read()
    assert seen
    assert text.startswith(b"first")
    assert 10_000 <= len(text) < 10_100 and text.endswith(b"ends here]\n")


def test_outputs_are_opened_with_suspicion(confined, level, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    code = """
def work(spec, progress):
    os.symlink(spec["secret"], "link")
    os.mkfifo("fifo")
    os.mkdir("folder")
    Path("large").write_bytes(b"x" * 101)
    Path("one").write_text("1")
    os.link("one", "two")
    Path("good").write_bytes(b"x" * 100)
    return {}
"""
    confined(code, level=level, spec={"secret": str(secret)})
    scratch = tmp_path / "scratch"
    for name in ("link", "fifo", "folder", "large", "one", "two", "absent"):
        with pytest.raises(ChildCrashError, match=f"'{name}'"):
            open_output(scratch, name, max_bytes=100)
    with open_output(scratch, "good", max_bytes=100) as file:
        assert file.read() == b"x" * 100
    for name in ("../secret", "/etc/passwd", "a/b", "", ".hidden", "x" * 65, "a\n"):
        with pytest.raises(InternalError):
            open_output(scratch, name, max_bytes=100)


def test_log_cannot_be_planted(confined, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("")
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "log.txt").symlink_to(victim)
    with pytest.raises(OutputError):
        confined("def work(spec, progress): return {}", level=SandboxLevel.PROCESS)
    assert victim.read_text() == ""


def test_typed_errors_travel(confined, level):
    code = """
def work(spec, progress):
    from qdq.base.errors import UnsupportedError
    raise UnsupportedError("No Foo", node="n", op_type="Foo", remedy="Remove it")
"""
    with pytest.raises(UnsupportedError) as caught:
        confined(code, level=level)
    assert str(caught.value) == "Node 'n' (Foo): No Foo. Remove it."


def test_temporary_files_are_removed(confined, level, tmp_path):
    code = """
def work(spec, progress):
    Path(os.environ["TMPDIR"], "x").write_text("x")
    return {"tmp": os.environ["TMPDIR"], "home": str(Path.home())}
"""
    found = confined(code, level=level)
    assert found["home"] == found["tmp"]
    assert not (_room(tmp_path) / "tmp").exists()


def test_stages_limit_themselves(confined, level):
    code = """
def work(spec, progress):
    import resource
    from qdq.worker.stages.__main__ import _limit
    _limit(spec)
    names = ("AS", "FSIZE", "NOFILE", "CORE", "NPROC")
    try:
        Path("large").write_bytes(b"x" * (2 << 20))
        error = ""
    except OSError as caught:
        error = caught.strerror
    kinds = {name: getattr(resource, "RLIMIT_" + name) for name in names}
    return {"limits": {name: resource.getrlimit(kind) for name, kind in kinds.items()},
            "badness": Path("/proc/self/oom_score_adj").read_text().strip(), "error": error}
"""
    spec = {"memory_bytes": 1 << 30, "output_bytes": 1 << 20, "open_files": 123, "processes": 4000}
    found = confined(code, level=level, spec=spec)
    assert found["limits"] == {
        "AS": [18 << 30] * 2,
        "FSIZE": [1 << 20] * 2,
        "NOFILE": [123] * 2,
        "CORE": [0] * 2,
        "NPROC": [4000] * 2,
    }
    assert found["badness"] == "1000"
    assert found["error"] == "File too large"


def test_unknown_stage_is_a_bug(tmp_path):
    with pytest.raises(InternalError, match="no stage 'os'"):
        run_stage("os", {}, scratch=tmp_path / "s")


def test_tree_of_this_process():
    with subprocess.Popen(["sleep", "100"]) as child:
        assert child.pid in descendants(os.getpid())
        assert tree_memory(os.getpid()) > tree_memory(child.pid) > 0
        child.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 5
        while child.pid in descendants(os.getpid()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert child.pid not in descendants(os.getpid())


def test_stages_may_run_in_threads(tmp_path, relu):
    """The parent-death signal is of the thread that starts the child: it must outlive it."""
    results = []

    def one(index):
        results.append(
            run_stage("inspect_model", {}, scratch=tmp_path / str(index), inputs=[(relu, "model")])
        )

    threads = [threading.Thread(target=one, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result["format"] for result in results] == ["onnx"] * 3


def test_bubblewrap_command_binds_no_home():
    command = bubblewrap_prefix(None)
    bound = {command[i + 1] for i, word in enumerate(command) if word == "--ro-bind"}
    assert not bound & {"/", "/home", "/root", str(Path.home()), "/etc", "/var", "/run"}
