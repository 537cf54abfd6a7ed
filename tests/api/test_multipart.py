"""The multipart parser: any chunking, any bytes, limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq.api.multipart import (
    Data,
    MultipartLimits,
    MultipartParser,
    PartBegin,
    PartEnd,
    boundary_of,
)
from qdq.base.errors import QdqError, RequestError, TooLargeError

BOUNDARY = "a1b2c3"


def form(parts, *, preamble=b"", end=b"--\r\n"):
    body = preamble
    for name, filename, data in parts:
        extra = b"" if filename is None else b'; filename="%s"' % filename.encode()
        body += b'--a1b2c3\r\nContent-Disposition: form-data; name="%s"%s\r\n' % (
            name.encode(), extra)  # fmt: skip
        body += b"Content-Type: application/x-hdf5\r\n\r\n" + data + b"\r\n"
    return body + b"--a1b2c3" + end


def parse(chunks, **limits):
    parser = MultipartParser(BOUNDARY, limits=MultipartLimits(**limits) if limits else None)
    found: list[tuple[str, str | None, bytes]] = []
    opened = None
    for chunk in chunks:
        for event in parser.feed(chunk):
            match event:
                case PartBegin(name, filename):
                    assert opened is None
                    opened = (name, filename, b"")
                case Data(data):
                    assert data
                    opened = (*opened[:2], opened[2] + data)
                case PartEnd():
                    found.append(opened)
                    opened = None
    parser.close()
    assert opened is None
    return found


def cut(body, sizes):
    at = 0
    for size in sizes:
        yield body[at : at + size]
        at += size
    yield body[at:]


NEAR = st.sampled_from([b"\r\n", b"\r", b"\n", b"--", b"-", b"\r\n--", b"\r\n--a1b2c", b"a1b2c3"])
CONTENT = st.lists(st.one_of(NEAR, st.binary(max_size=20)), max_size=12).map(b"".join).filter(
    lambda data: b"\r\n--a1b2c3" not in b"\r\n" + data + b"\r\n"
)  # fmt: skip
NAMES = st.text("abcXYZ019 ._-", min_size=1, max_size=10)


@given(
    st.lists(st.tuples(NAMES, st.none() | NAMES, CONTENT), max_size=4),
    st.lists(st.integers(1, 30), max_size=60),
)
def test_what_was_sent_is_read_however_it_is_cut(parts, sizes):
    assert parse(cut(form(parts), sizes)) == parts


@given(st.binary(max_size=300), st.lists(st.integers(1, 30), max_size=10))
def test_any_bytes_are_read_or_refused(body, sizes):
    try:
        parse(cut(body, sizes))
    except QdqError:
        return
    assert b"--a1b2c3" in body


@given(CONTENT, st.integers(0, 200))
def test_what_is_cut_off_is_refused(data, length):
    whole = form([("file", "model", data)])
    cut_off = whole[: min(length, len(whole) - 5)]
    with pytest.raises(RequestError):
        parse([cut_off])


def test_variants_that_are_legal():
    body = form([("key", None, b"d1")], preamble=b"hello\r\n", end=b"--\r\nepilogue --a1b2c3")
    assert parse([body]) == [("key", None, b"d1")]
    padded = body.replace(b"--a1b2c3\r\nContent", b"--a1b2c3  \t\r\nContent")
    assert parse(cut(padded, [1] * len(padded))) == [("key", None, b"d1")]
    assert parse([form([("file", "m", b"")])]) == [("file", "m", b"")]


@pytest.mark.parametrize(
    "body",
    [
        b"--a1b2c3x\r\n",
        b"--a1b2c3\r\nContent-Type: text/plain\r\n\r\nx\r\n--a1b2c3--",
        b'--a1b2c3\r\nContent-Disposition: attachment; name="x"\r\n\r\nx\r\n--a1b2c3--',
        b"--a1b2c3\r\nContent-Disposition: form-data\r\n\r\nx\r\n--a1b2c3--",
        b"--a1b2c3\r\n\r\n\r\nx\r\n--a1b2c3--",
        b"x" * 5000,
    ],
)
def test_malformed_forms_are_refused(body):
    for sizes in ([], [1] * len(body)):
        with pytest.raises(RequestError):
            parse(cut(body, sizes))


def test_limits():
    parts = [("a", None, b"1")] * 4
    assert len(parse([form(parts)], parts=4)) == 4
    with pytest.raises(TooLargeError):
        parse([form(parts)], parts=3)
    with pytest.raises(TooLargeError):
        parse([form([("n" * 300, None, b"")])], header_bytes=200)
    with pytest.raises(TooLargeError):
        parse([b"--a1b2c3\r\n" + b"x" * 300], header_bytes=200)
    many = form([("a", None, b"")]).replace(b"Content-Type", b"X: 1\r\nY: 2\r\nContent-Type")
    with pytest.raises(TooLargeError):
        parse([many], headers=3)


def test_a_large_file_is_not_gathered():
    parser = MultipartParser(BOUNDARY)
    head, tail = form([("file", "m", b"@")]).split(b"@")
    list(parser.feed(head))
    for _ in range(100):
        assert sum(len(event.data) for event in parser.feed(b"x" * 65536)) == 65536
    assert len(parser._buffer) < 100
    assert list(parser.feed(tail))[-1] == PartEnd()
    parser.close()


@pytest.mark.parametrize(
    ("header", "boundary"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('Multipart/Form-Data; charset=utf-8; Boundary="a b:c"', "a b:c"),
        ("multipart/form-data;boundary=" + "x" * 70, "x" * 70),
    ],
)
def test_boundaries(header, boundary):
    assert boundary_of(header) == boundary


@pytest.mark.parametrize(
    "header",
    ["", "text/plain; boundary=x", "multipart/form-data", "multipart/form-data; boundary=",
     "multipart/form-data; boundary=" + "x" * 71, 'multipart/form-data; boundary="a\r\nb"'],
)  # fmt: skip
def test_boundaries_that_are_none(header):
    with pytest.raises(RequestError):
        boundary_of(header)
