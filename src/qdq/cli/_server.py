"""The commands of the workbench: names, arguments and help.  What they do is beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qdq.cli._output import print_json, print_report

__all__ = ["add_commands"]

_PORT = 8800
_LOOPBACK = "127.0.0.1"
_PRIORITIES = 100
_STATES = "created, running, done or failed"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The data folder; else the user's own."),
]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The server's address.")]
Port = Annotated[
    int, typer.Option("--port", min=0, max=65535, metavar="N", help="The server's port.")
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The id of the job.")]

jobs = typer.Typer(
    add_completion=False, rich_markup_mode=None, help="List, show and cancel the workbench's jobs."
)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of the workbench to ``app``."""
    app.command()(serve)
    app.command("client-config")(client_config)
    app.command()(devices)
    app.add_typer(jobs, name="jobs")
    app.command()(gc)


def serve(
    *,
    host: Host = _LOOPBACK,
    port: Port = _PORT,
    data: Data = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=64, metavar="N", help="Jobs that run at a time.")
    ] = 1,
) -> None:
    """Run the workbench that the official client talks to, until it is interrupted."""
    from qdq.cli._serve import run_server

    run_server(host, port, data_dir=data, workers=workers)


def client_config(
    *,
    data: Data = None,
    host: Host = _LOOPBACK,
    port: Port = _PORT,
    write: Annotated[
        bool, typer.Option("--write", help="Write the file where the client looks for it.")
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="With --write: write NAME.ini."),
    ] = None,
) -> None:
    """Print the client's configuration for this workbench."""
    from qdq.cli._client_config import client_ini, write_client_ini

    if profile is not None and not write:
        raise typer.BadParameter("It goes with --write", param_hint="--profile")
    text = client_ini(host, port, data_dir=data)
    if write:
        write_client_ini(text, profile=profile)
    else:
        print(text, end="")


def devices(
    *,
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", metavar="KEY:VALUE", help="Only devices that have it; repeat."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List this machine, and the devices that models can be compiled for."""
    from qdq.cli import _devices

    rows = _devices.device_rows(attribute or [])
    if as_json:
        print_json({"devices": [row.to_dict() for row in rows]})
    else:
        print_report(_devices.listed_devices(rows))


@jobs.command("list")
def jobs_list(
    *,
    data: Data = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help=f"Only these: {_STATES}.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1000, metavar="N", help="How many at most.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    from qdq.cli import _jobs

    found, total = _jobs.list_jobs(data, state=state, limit=limit)
    if as_json:
        print_json({"jobs": [_jobs.job_dict(job) for job in found], "total": total})
    else:
        print_report(_jobs.listed(found, total))


@jobs.command("show")
def jobs_show(job: JobId, *, data: Data = None, as_json: Json = False) -> None:
    """Show a job: its state, inputs, notices, results and failure."""
    from qdq.cli import _jobs

    found = _jobs.get_job(job, data)
    if as_json:
        print_json(_jobs.job_dict(found))
    else:
        print_report(_jobs.shown(found))


@jobs.command("logs")
def jobs_logs(
    job: JobId,
    *,
    data: Data = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
) -> None:
    """Print the log of a job, also while it runs."""
    from qdq.cli import _jobs

    _jobs.print_log(job, data, follow=follow)


# A negative number is no option.
@jobs.command("priority", context_settings={"ignore_unknown_options": True})
def jobs_priority(
    job: JobId,
    priority: Annotated[
        int,
        typer.Argument(
            metavar="N", min=-_PRIORITIES, max=_PRIORITIES, help="0 is that of submitted jobs."
        ),
    ],
    *,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let a waiting job be begun before those of a lower priority, and after those of a higher."""
    from qdq.cli import _jobs

    changed = _jobs.prioritize_job(job, priority, data)
    if as_json:
        print_json({"job": job, "priority": priority, "changed": changed})
    else:
        print(f"{job}: {f'priority {priority}' if changed else 'had ended already'}")


@jobs.command("cancel")
def jobs_cancel(job: JobId, *, data: Data = None, as_json: Json = False) -> None:
    """Cancel a job that has not ended; a running one ends within seconds."""
    from qdq.cli import _jobs

    cancelled = _jobs.cancel_job(job, data)
    if as_json:
        print_json({"job": job, "cancelled": cancelled})
    else:
        print(f"{job}: {'cancelled' if cancelled else 'had ended already'}")


def gc(
    *,
    data: Data = None,
    older_than: Annotated[
        int,
        typer.Option("--older-than", min=0, metavar="DAYS", help="Keep what is younger than this."),
    ] = 30,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be removed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove old jobs, models, expired datasets and bytes that nothing needs any more."""
    from qdq.cli import _gc

    found = _gc.collect(data, days=older_than, dry_run=dry_run)
    if as_json:
        print_json(found.to_dict())
    else:
        print_report(_gc.collected(found))
