"""Child modules' work for the tests of qdq.base.child; started as ``python -m child_work``."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from qdq.base.child_side import child_main
from qdq.base.errors import UnsupportedError


def _echo(spec, progress):
    print("noise on stdout")
    os.write(1, b'{"step": "forged by native output", "total": 1}\n')
    progress.step("work", 3)
    progress.advance(2)
    progress.notice("mind\x1b[31m this")
    return {
        "spec": spec,
        "env": dict(os.environ),
        "cwd": str(Path.cwd()),
        "path0": sys.path[0],
        "session": os.getsid(0) == os.getpid(),
    }


def _qdq_error(spec, progress):
    raise UnsupportedError("No Foo here", remedy="Remove it", node="n", op_type="Foo", tensor="t")


def _unexpected(spec, progress):
    raise KeyError("lost")


def _memory(spec, progress):
    return {"size": len(bytearray(1 << 40))}


def _exit(spec, progress):
    print("a last word", file=sys.stderr, flush=True)
    os._exit(spec["code"])


def _signal(spec, progress):
    os.kill(os.getpid(), spec["signal"])


def _segfault(spec, progress):
    ctypes.string_at(0)


def _sleep(spec, progress):
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    Path(spec["pids"]).write_text(f"{os.getpid()} {grandchild.pid}")
    time.sleep(100)


def _leave_grandchild(spec, progress):
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    return {"pid": grandchild.pid}


def _nan(spec, progress):
    return {"value": float("nan")}


def _chatter(spec, progress):
    for _ in range(200):
        os.write(2, b"x" * 4096 + b"\n")
        progress.advance()
    progress._pipe.write("not json\n[1]\n" + "y" * 300_000 + "\n")
    progress.advance()
    return {}


def _forge(spec, progress):
    target = Path(spec["result"])
    match spec["how"]:
        case "link":
            secret = target.with_name("secret.json")
            secret.write_text('{"result": {"stolen": 1}}')
            target.symlink_to(secret)
        case "fifo":
            os.mkfifo(target)
        case "folder":
            target.mkdir()
        case "large":
            with target.open("wb") as file:
                file.truncate(1 << 40)
        case text:
            target.write_text(text)
    os._exit(spec.get("code", 0))


def _close_parent(spec, progress):
    os.close(1)
    os.close(2)
    progress._pipe.close()
    time.sleep(0.5)
    os._exit(signal.SIGTERM)


WORK = {name[1:]: function for name, function in list(globals().items()) if name.startswith("_")}

if __name__ == "__main__":
    child_main(lambda spec, progress: WORK[spec["do"]](spec, progress))
