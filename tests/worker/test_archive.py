"""Archives that anyone may have made: what is written is inside the folder, plain and bounded."""

import io
import stat
import struct
import unicodedata
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdq.base.errors import ModelCorruptError, ModelInvalidError, OutputError, QdqError
from qdq.worker import ArchiveLimits, extract_archive

_SMALL = ArchiveLimits(entries=64, file_bytes=1 << 20, total_bytes=2 << 20, ratio=1040)
_RELAXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def _zip(members, *, compression=zipfile.ZIP_STORED):
    """Return the bytes of an archive of (name or ZipInfo, bytes)."""
    buffer = io.BytesIO()
    # zipfile warns of names that it has twice.
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore")
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def _member(name, mode, *, system=3):
    info = zipfile.ZipInfo("placeholder")
    # Past ZipInfo's own cleaning of names.
    info.filename = info.orig_filename = name
    info.create_system = system
    info.external_attr = mode << 16
    return info


def _extract(tmp_path, data, limits=_SMALL):
    source = tmp_path / "upload"
    source.write_bytes(data)
    return extract_archive(source, tmp_path / "out", limits=limits)


def _refused(tmp_path, data, kind=ModelInvalidError, words=None, limits=_SMALL):
    with pytest.raises(kind, match=words) as caught:
        _extract(tmp_path, data, limits)
    assert type(caught.value) is kind
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["upload"]


def test_a_folder_as_the_client_packs_it(tmp_path):
    data = _zip(
        [
            ("net.onnx/", b""),
            ("net.onnx/model.onnx", b"abc"),
            ("net.onnx/model.data", b"x" * 70000),
        ],
        compression=zipfile.ZIP_DEFLATED,
    )
    top = _extract(tmp_path, data)
    assert top == tmp_path / "out" / "net.onnx"
    assert {path.name: path.read_bytes() for path in top.iterdir()} == {
        "model.onnx": b"abc",
        "model.data": b"x" * 70000,
    }


def test_no_folder_members_and_deeper_folders(tmp_path):
    top = _extract(tmp_path, _zip([("m/a/b.bin", b"1"), ("m/Ä ö/c", b"2"), ("m/empty/", b"")]))
    assert (top / "a" / "b.bin").read_bytes() == b"1"
    assert (top / "Ä ö" / "c").read_bytes() == b"2"
    assert (top / "empty").is_dir()


def test_modes_are_not_taken(tmp_path):
    top = _extract(tmp_path, _zip([(_member("m/x", stat.S_IFREG | 0o6777), b"1")]))
    assert stat.S_IMODE((top / "x").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "//server/share",
        "../x",
        "m/../../x",
        "m/..",
        "..",
        ".",
        "m/./x",
        "m//x",
        "C:/x",
        "c:x",
        "m\\x",
        "\\\\server\\x",
        "m/x\\..\\..\\y",
        "m/a\0b",
        "m/a\nb",
        "m/\x1b[31m",
        "m/\u202ex",
        "m/" + "x" * 256,
        "m/" + "ä" * 128,
        "/".join("m" * 17),
        "/",
        "",
    ],
)
def test_names_that_are_no_plain_paths(tmp_path, name):
    _refused(tmp_path, _zip([("m/ok", b"1"), (_member(name, 0), b"2")]))


@pytest.mark.parametrize("system", [0, 3, 19])
@pytest.mark.parametrize(
    "kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK]
)
def test_links_and_devices(tmp_path, kind, system):
    member = _member("m/x", kind | 0o777, system=system)
    _refused(tmp_path, _zip([(member, b"/etc/passwd")]), words="link or a device")


@pytest.mark.parametrize(
    ("member", "data"),
    [
        (_member("m/x", stat.S_IFDIR | 0o755), b""),
        (_member("m/x/", stat.S_IFREG | 0o644), b""),
        (_member("m/x/", 0), b"content"),
    ],
)
def test_folders_that_are_files(tmp_path, member, data):
    _refused(tmp_path, _zip([(member, data)]), words="folder")


_COMPOSED = unicodedata.normalize("NFC", "é")
_DECOMPOSED = unicodedata.normalize("NFD", "é")


@pytest.mark.parametrize(
    "names",
    [
        ("m/x", "m/x"),
        ("m/", "m/"),
        ("m/x", "m/X"),
        ("m/straße", "m/STRASSE"),
        (f"m/{_COMPOSED}", f"m/{_DECOMPOSED}"),
        (f"m/{_COMPOSED}", f"m/{_DECOMPOSED.upper()}"),
        ("m/a/x", "m/A/y"),
        ("m/x", "M/y"),
        ("m/x", "m/x/y"),
        ("m/x/y", "m/x"),
        ("m/x", "m/x/"),
        ("m/X/y", "m/x"),
    ],
)
def test_names_that_collide(tmp_path, names):
    _refused(tmp_path, _zip([(_member(name, 0), b"") for name in names]))


@pytest.mark.parametrize(
    "names", [("x",), ("m/x", "y"), ("m/x", "n/y"), ("m/x", "__MACOSX/m/._x"), ("m/", "n/")]
)
def test_there_is_one_folder_at_the_top(tmp_path, names):
    _refused(tmp_path, _zip([(name, b"") for name in names]), words="at its top")


def test_nothing_in_it(tmp_path):
    _refused(tmp_path, _zip([]), words="empty")


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_encrypted(tmp_path, flag):
    data = bytearray(_zip([("m/x", b"secret")]))
    place = data.rindex(b"PK\x01\x02") + 8
    struct.pack_into("<H", data, place, struct.unpack_from("<H", data, place)[0] | flag)
    _refused(tmp_path, bytes(data), words="encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(tmp_path, method):
    _refused(tmp_path, _zip([("m/x", b"1" * 99)], compression=method), words="stored nor deflated")


def test_too_many_members(tmp_path):
    _refused(tmp_path, _zip([(f"m/{i}", b"") for i in range(65)]), words="65 members")


def test_list_of_members_too_large_to_read(tmp_path):
    data = _zip([(f"m/{i:05}" + "x" * 200, b"") for i in range(20_000)])
    _refused(tmp_path, data, words="lists more members")


def test_one_file_too_large(tmp_path):
    data = _zip([("m/x", bytes((1 << 20) + 1))])
    _refused(tmp_path, data, words="a file of more than 1,048,576")


def test_all_files_too_large(tmp_path):
    data = _zip([(f"m/{i}", bytes(1 << 20)) for i in range(3)])
    _refused(tmp_path, data, words="unpacks to more than 2,097,152")


def _declare(data, size, *, signature=b"PK\x01\x02", place=24):
    """Return the archive with another declared size of its last member, in the list of members."""
    changed = bytearray(data)
    struct.pack_into("<I", changed, changed.rindex(signature) + place, size)
    return bytes(changed)


def test_declared_sizes_are_not_trusted(tmp_path):
    """A member that declares 1 byte and holds 3 MiB gives at most what the limits allow."""
    data = _declare(_zip([("m/x", bytes(3 << 20))], compression=zipfile.ZIP_DEFLATED), 1)
    with pytest.raises(QdqError):
        _extract(tmp_path, data)
    assert not (tmp_path / "out").exists()


def test_ratio_of_members_that_share_their_bytes(tmp_path):
    """The better zip bomb: 60 members, all of them the same 4 KiB of compressed zeros."""
    one = _zip([("m/00", bytes(1 << 20))], compression=zipfile.ZIP_DEFLATED)
    start, end = one.rindex(b"PK\x01\x02"), one.rindex(b"PK\x05\x06")
    entry = one[start:end]
    entries = b"".join(entry.replace(b"m/00", b"m/%02d" % i) for i in range(60))
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 60, 60, len(entries), start, 0)
    limits = ArchiveLimits(entries=64)
    with pytest.raises(QdqError) as caught:
        _extract(tmp_path, one[:start] + entries + tail, limits)
    assert isinstance(caught.value, ModelInvalidError | ModelCorruptError)
    assert not (tmp_path / "out").exists()


def test_ratio(tmp_path):
    data = _zip([("m/x", bytes(3 << 20))], compression=zipfile.ZIP_DEFLATED)
    _refused(tmp_path, data, words="unpacks to more than", limits=ArchiveLimits(ratio=100))
    (tmp_path / "upload").unlink()
    assert _extract(tmp_path, data, ArchiveLimits()).is_dir()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"PK\x03\x04",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"payload", b"paYload"),
        lambda data: data.replace(b"PK\x03\x04", b"PK\x03\x05"),
        lambda data: _declare(data, 0xFFFFFFFF),
        lambda data: _declare(data, 0x7FFFFFFF, place=42),
        lambda data: _declare(data, 0x7FFFFFFF, signature=b"PK\x05\x06", place=16),
        lambda data: data.replace(b"m/x", b"m/y", 1),
    ],
)
def test_damaged(tmp_path, spoil):
    _refused(tmp_path, spoil(_zip([("m/x", b"payload" * 9)])), kind=ModelCorruptError)


def test_a_folder_that_is_there_is_not_written_to(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(OutputError):
        _extract(tmp_path, _zip([("m/x", b"1")]))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_disk_full_is_told_as_such(tmp_path):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    data = _zip([("m/x", bytes(1 << 20))])
    (tmp_path / "upload").write_bytes(data)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(OutputError, match="too large"):
            extract_archive(tmp_path / "upload", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


_PART = st.sampled_from(
    ["m", "M", "a", "A", "..", ".", "", "é", "e\u0301", "x\\y", "C:", "\0", "ß"]
)
_NAMES = st.builds(
    lambda parts, tail: "/".join(parts) + tail,
    st.lists(_PART, min_size=1, max_size=4),
    st.sampled_from(["", "/"]),
)


def _written(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@given(st.lists(st.tuples(_NAMES, st.binary(max_size=20)), max_size=5))
@_RELAXED
def test_any_names(tmp_path_factory, members):
    """Either it is refused and nothing is there, or the files are exactly the members'."""
    tmp_path = tmp_path_factory.mktemp("any")
    data = _zip([(_member(name, 0), content) for name, content in members])
    try:
        top = _extract(tmp_path, data)
    except (ModelInvalidError, ModelCorruptError):
        assert [path.name for path in tmp_path.iterdir()] == ["upload"]
        return
    files = {name: data for name, data in members if not name.endswith("/")}
    assert _written(top.parent) == files
    assert {path.name for path in tmp_path.iterdir()} == {"upload", "out"}


_VALID = _zip(
    [("m/", b""), ("m/a", b"abc" * 50), ("m/b/c", bytes(500))], compression=zipfile.ZIP_DEFLATED
)


@given(
    st.lists(
        st.tuples(st.integers(0, len(_VALID) - 1), st.integers(0, 255)), min_size=1, max_size=4
    ),
    st.integers(0, 60),
)
@_RELAXED
def test_any_bytes(tmp_path_factory, changes, cut):
    tmp_path = tmp_path_factory.mktemp("bytes")
    data = bytearray(_VALID)
    for place, value in changes:
        data[place] = value
    try:
        top = _extract(tmp_path, bytes(data[: len(data) - cut]))
    except (ModelInvalidError, ModelCorruptError):
        assert [path.name for path in tmp_path.iterdir()] == ["upload"]
        return
    assert top.parent == tmp_path / "out"
    total = sum(map(len, _written(top).values()))
    assert total <= _SMALL.total_bytes
    assert not any(Path(path).is_symlink() for path in top.rglob("*"))
