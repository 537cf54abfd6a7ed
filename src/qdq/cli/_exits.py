"""Exit codes, and how errors reach the user: a sentence, or JSON with --json."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from qdq.base.errors import AccuracyError, InternalError, OptionError, PrecisionError, QdqError
from qdq.cli._output import print_json

__all__ = ["BOUND_MISSED", "FAILED", "INTERRUPTED", "OK", "USAGE", "CommandGroup"]

OK = 0
FAILED = 1
USAGE = 2
# Of its own, so that CI tells a model that is not accurate enough from a failure.
BOUND_MISSED = 3
INTERRUPTED = 130

# Only what is wrong in the words themselves; a spec that does not fit the model is a failure.
_USAGE_ERRORS = (OptionError, PrecisionError)
_OFF = ("", "0", "false", "no", "off")
# BadParameter is public, its bases are not: UsageError, ClickException.
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]


class CommandGroup(TyperGroup):
    """Runs a command and turns whatever it raises into a message and an exit code."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run and exit; every failure ends here, so that tests and shells see the same."""
        words = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        sys.exit(_guarded(lambda: super(CommandGroup, self).main(words, *rest, **extra), words))


def _guarded(run: Callable[[], Any], words: Sequence[str]) -> int:
    as_json = "--json" in words
    debug = "--debug" in words or os.environ.get("QDQ_DEBUG", "").lower() not in _OFF
    try:
        code = run()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except QdqError as error:
        code = _code(error)
        _report(error, as_json=as_json, debug=debug)
    except _ClickException as error:
        code = USAGE
        _report_usage(error, as_json=as_json)
    except Exception as error:
        code = FAILED
        _report(_internal(error), as_json=as_json, debug=debug)
    if code == INTERRUPTED:
        print("qdq: interrupted; nothing was written", file=sys.stderr)
    return code if isinstance(code, int) else OK


def _code(error: QdqError) -> int:
    if isinstance(error, _USAGE_ERRORS):
        return USAGE
    return BOUND_MISSED if isinstance(error, AccuracyError) else FAILED


def _internal(error: Exception) -> QdqError:
    internal = InternalError(
        f"Unexpected {type(error).__name__}: {error}",
        remedy="This is a bug of qdq: run it again with --debug before the command, "
        "and report what it prints",
    )
    internal.__cause__ = error
    return internal


def _report(error: QdqError, *, as_json: bool, debug: bool) -> None:
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    if as_json:
        print_json(error.to_dict())
    else:
        print(f"qdq: {error}", file=sys.stderr)


def _report_usage(error: Any, *, as_json: bool) -> None:
    context = getattr(error, "ctx", None)
    usage = context.get_usage() if context is not None else ""
    message = f"{error.format_message().rstrip('.')}."
    if as_json:
        print_json({"error": "UsageError", "message": message, "usage": usage})
        return
    if usage:
        print(usage, file=sys.stderr)
    help_path = context.command_path if context is not None else "qdq"
    print(f"qdq: {message} See '{help_path} --help'.", file=sys.stderr)
