"""Split an option string into options and the text of their values."""

from __future__ import annotations

import shlex
import unicodedata
from dataclasses import dataclass

from qdq.base.errors import OptionError

__all__ = ["MAX_TEXT", "Given", "split_options"]

MAX_TEXT = 65_536
_WHITESPACE = "\t\r\n"


@dataclass(frozen=True, slots=True)
class Given:
    """One occurrence of an option; ``value`` is None where no value was written."""

    name: str
    value: str | None


def split_options(text: str) -> list[Given]:
    """Return the options of ``text`` in order.

    Values stand after a blank or after ``=``, and may be quoted with ' or ".  A backslash
    is an ordinary character, not an escape.  Raises OptionError for anything that is no option.
    """
    given: list[Given] = []
    for word in _words(text):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            given.append(_given(name, value if equals else None))
        elif given and given[-1].value is None:
            given[-1] = _given(given[-1].name, word)
        else:
            raise _stray(word, given[-1] if given else None)
    return given


def _given(name: str, value: str | None) -> Given:
    if not name:
        raise OptionError("'--' has no option name", remedy="Write options as --name value")
    if value == "":
        raise OptionError(
            f"Option --{name} has an empty value", remedy="Give a value or leave it out"
        )
    if value is not None and value.startswith("--"):
        raise OptionError(
            f"The value of option --{name} begins with '--': '{value}'",
            remedy="Separate options by blanks; a value cannot begin with --",
        )
    return Given(name, value)


def _stray(word: str, before: Given | None) -> OptionError:
    if before is None:
        return OptionError(
            f"'{word}' is not an option: an option begins with --",
            remedy="Write options as --name value",
        )
    return OptionError(
        f"'{word}' follows the value '{before.value}' of option --{before.name}",
        remedy="Put quotes around a value that holds blanks",
    )


def _words(text: str) -> list[str]:
    if len(text) > MAX_TEXT:
        raise OptionError(f"The option string has {len(text)} characters, more than {MAX_TEXT}")
    for character in text:
        if unicodedata.category(character) == "Cc" and character not in _WHITESPACE:
            raise OptionError(
                f"The option string holds the control character {character!r}",
                remedy="Remove it",
            )
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split = True
    lexer.escape = ""
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:
        raise OptionError(
            f"A quote is not closed in the option string '{text}'", remedy="Close the quote"
        ) from None
