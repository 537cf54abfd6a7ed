"""Runs workflows of the official client in several processes, and gathers what they found."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acceptance.harness import ClientEnvironment

__all__ = ["Found", "run_workflows", "through"]

_SCRIPT = Path(__file__).resolve().parent / "scripts" / "workflow.py"
_SECONDS = 1500.0


@dataclass(frozen=True, slots=True)
class Found:
    """What workflows found: ``workflows`` are the script's own rows."""

    workflows: list[dict[str, Any]]

    @property
    def errors(self) -> list[str]:
        """The tracebacks of those that failed."""
        return [it["error"] for it in self.workflows if it["error"]]

    @property
    def digests(self) -> list[dict[str, str]]:
        """The hashes of what each downloaded, without repetition."""
        unique: list[dict[str, str]] = []
        for row in self.workflows:
            if row["digests"] not in unique:
                unique.append(row["digests"])
        return unique

    @property
    def repeated(self) -> Counter[str]:
        """The requests that the harness repeated for the client."""
        return Counter(name for row in self.workflows for name in row["repeated"])


def through(client_ini: Path, port: int, *, server_port: int, folder: Path) -> Path:
    """Return a client.ini like the given one that leads to another port."""
    written = folder / "proxied.ini"
    text = client_ini.read_text()
    assert f":{server_port}" in text
    written.write_text(text.replace(f":{server_port}", f":{port}"))
    return written


def run_workflows(
    client: ClientEnvironment, client_ini: Path, assets: Path, folder: Path, *, shares: list[int]
) -> Found:
    """Run as many processes at once as ``shares`` has numbers, each with that many workflows."""

    def run(number: int) -> list[dict[str, Any]]:
        place = folder / f"client-{number}"
        place.mkdir(parents=True)
        result = place / "result.json"
        done = client.python(
            _SCRIPT,
            str(assets),
            str(place / "work"),
            str(result),
            str(shares[number]),
            home=place,
            client_ini=client_ini,
            timeout=_SECONDS,
        )
        (place / "output.txt").write_text(done.stdout + done.stderr)
        shutil.rmtree(place / "work", ignore_errors=True)
        rows: list[dict[str, Any]] = json.loads(result.read_text())
        return rows

    with ThreadPoolExecutor(len(shares)) as pool:
        rows = [row for part in pool.map(run, range(len(shares))) for row in part]
    return Found(rows)
