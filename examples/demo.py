"""``make demo``: the documented workflow, through the official client, against a server of its own.

    python -m examples.demo [FOLDER]

Starts ``qdq serve`` on a free port of 127.0.0.1 with an empty data folder under FOLDER (default
.cache/demo), runs ``examples.quantize_workflow`` as a user of that server, and stops it.
Exits with 1 when the quality falls short of the bounds below.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 30.0
# These settings of the user would lead the client elsewhere, or give it other credentials.
STEERING = ("proxy", "qaihub", "netrc")

# What the quantized model must keep: SQNR of the logits in dB, share of equal top-1 answers, and at
# most this share of the float model's latency.
LEAST_SQNR = 15.0
LEAST_AGREEMENT = 0.9
MOST_LATENCY = 0.8


def main() -> int:
    """Run the workflow against a new server; return 1 where quality falls short."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".cache" / "demo"
    shutil.rmtree(folder / "server", ignore_errors=True)
    (folder / "server").mkdir(parents=True)
    table = folder / "table.json"
    with server(folder / "server") as client_ini:
        command = [sys.executable, "-m", "examples.quantize_workflow", "--json", str(table)]
        done = subprocess.run(command, cwd=ROOT, env=client_environment(client_ini), check=False)
    if done.returncode:
        print(f"The workflow failed; the server's log is {folder / 'server' / 'serve.log'}")
        return 1
    return judge(json.loads(table.read_text())[1])


@contextmanager
def server(folder: Path) -> Iterator[Path]:
    """Run a server on a free port; yield the client.ini that leads to it."""
    port = free_port()
    log = folder / "serve.log"
    place = ["--data", str(folder / "data"), "--port", str(port)]
    command = [sys.executable, "-m", "qdq"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "serve", *place], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        begun = time.monotonic()
        wait_for(process, port, log)
        print(f"qdq serve answers on 127.0.0.1:{port} after {time.monotonic() - begun:.1f} s")
        client_ini = folder / "client.ini"
        config = subprocess.run(
            [*command, "client-config", *place], capture_output=True, text=True, check=True
        )
        client_ini.write_text(config.stdout)
        yield client_ini
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return as soon as the server answers; end the program when it does not."""
    deadline = time.monotonic() + START_SECONDS
    while not answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"qdq serve does not answer:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)


def answers(port: int) -> bool:
    """Return whether something speaks HTTP there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/api/v1/frameworks/")
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def client_environment(client_ini: Path) -> dict[str, str]:
    """Return this environment with the client's settings pointing at ``client_ini``."""
    kept = {k: v for k, v in os.environ.items() if not any(it in k.lower() for it in STEERING)}
    # A .netrc of the user would replace the token.
    nowhere = str(client_ini.parent / "no.netrc")
    return {**kept, "QAIHUB_CLIENT_INI": str(client_ini), "NO_PROXY": "*", "NETRC": nowhere}


def judge(row: dict[str, Any]) -> int:
    """Print which bounds the quantized model misses; return 1 if any."""
    faults = []
    if row["sqnr_db"] < LEAST_SQNR:
        faults.append(f"SQNR {row['sqnr_db']:.2f} dB, not {LEAST_SQNR} dB")
    if row["agreement"] < LEAST_AGREEMENT:
        faults.append(f"agreement {row['agreement']:.2f}, not {LEAST_AGREEMENT}")
    if row["latency_ratio"] > MOST_LATENCY:
        faults.append(f"latency {row['latency_ratio']:.2f} of float, not {MOST_LATENCY}")
    print("\nThe bounds are kept." if not faults else "\nToo bad:\n" + "\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
