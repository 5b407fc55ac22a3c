"""Zips of strangers: only two files of them ever reach the disk."""

import io
import stat
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.admin.admin_front import peft_zip, zip_of

from realm.errors import AdapterError, AdapterFormatError, AdapterOpenError
from realm.server.front.admin.peft_archive import CONFIG_FILE, WEIGHTS_FILE, unpack_peft

_BOTH = {CONFIG_FILE: b"{}", WEIGHTS_FILE: b"w" * 100}


def _unpack(tmp_path, data, most_bytes=1 << 20):
    archive = tmp_path / "body"
    archive.write_bytes(data)
    folder = tmp_path / "out"
    folder.mkdir(exist_ok=True)
    unpack_peft(archive, folder, most_bytes)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("prefix", ["", "adapter/", "a/b/c/"])
def test_the_two_files_are_unpacked_wherever_they_are_together(tmp_path, prefix):
    files = {prefix + name: data for name, data in _BOTH.items()}
    extra = {f"{prefix}README.md": b"# read", f"{prefix}tokenizer.json": b"{}"}
    assert _unpack(tmp_path, zip_of(files | extra)) == _BOTH


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/x", "..\\x", "C:x", "a/..", "..", "/adapter_config.json"],
)
def test_a_path_that_leads_out_refuses_the_whole(tmp_path, name):
    with pytest.raises(AdapterFormatError, match="leads out"):
        _unpack(tmp_path, zip_of(_BOTH | {name: b"x"}))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_special_files_refuse_the_whole(tmp_path, kind):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in _BOTH:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (kind | 0o777) << 16
            archive.writestr(entry, "/etc/passwd")
    with pytest.raises(AdapterFormatError, match="link or another special"):
        _unpack(tmp_path, buffer.getvalue())


@pytest.mark.parametrize("missing", [CONFIG_FILE, WEIGHTS_FILE])
def test_both_must_be_there(tmp_path, missing):
    files = {name: data for name, data in _BOTH.items() if name != missing}
    with pytest.raises(AdapterOpenError, match=f"the zip has no {missing}"):
        _unpack(tmp_path, zip_of(files | {"adapter_model.bin": b"pickle"}))


def test_both_must_be_in_one_folder_and_there_once(tmp_path):
    with pytest.raises(AdapterFormatError, match="different folders"):
        _unpack(tmp_path, zip_of({"a/" + CONFIG_FILE: b"{}", "b/" + WEIGHTS_FILE: b"x"}))
    with pytest.raises(AdapterFormatError, match=r"two files adapter_config\.json"):
        _unpack(tmp_path, zip_of(_BOTH | {"b/" + CONFIG_FILE: b"{}"}))


def test_a_bomb_is_stopped_while_it_unpacks(tmp_path):
    bomb = zip_of(_BOTH | {WEIGHTS_FILE: bytes(64 << 20)})
    assert len(bomb) < 100_000
    with pytest.raises(
        AdapterFormatError, match=r"adapter_model\.safetensors in the zip is too large"
    ):
        _unpack(tmp_path, bomb, most_bytes=1 << 40)
    written = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert written <= 200 * len(bomb) + (1 << 20)


@pytest.mark.parametrize(("name", "size"), [(WEIGHTS_FILE, 2000), (CONFIG_FILE, 1001)])
def test_sizes_are_bounded_whatever_the_archive_says(tmp_path, name, size):
    with pytest.raises(AdapterFormatError, match="in the zip is too large"):
        _unpack(tmp_path, zip_of(_BOTH | {name: b"x" * size}, 0), most_bytes=1000)


def test_a_configuration_has_a_bound_of_its_own(tmp_path):
    with pytest.raises(AdapterFormatError, match=r"adapter_config\.json in the zip is too large"):
        _unpack(tmp_path, zip_of(_BOTH | {CONFIG_FILE: b" " * (2 << 20)}, 0), 1 << 30)


def test_a_list_of_a_million_entries_is_refused_unread(tmp_path):
    names = {f"f{number}": b"" for number in range(2000)}
    with pytest.raises(AdapterFormatError, match="too many entries"):
        _unpack(tmp_path, zip_of(_BOTH | names))


def test_the_long_form_and_comments_are_refused(tmp_path):
    data = zip_of(_BOTH)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    with pytest.raises(AdapterFormatError, match="4 GiB"):
        _unpack(tmp_path, data[:-22] + locator + data[-22:])
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"hello"
    with pytest.raises(AdapterFormatError, match="cut, or has a comment"):
        _unpack(tmp_path, buffer.getvalue())


def test_unusual_compression_and_encryption_are_refused(tmp_path):
    with pytest.raises(AdapterFormatError, match="unusual"):
        _unpack(tmp_path, zip_of(_BOTH, zipfile.ZIP_LZMA))
    data = bytearray(zip_of(_BOTH, 0))
    place = data.index(b"PK\x01\x02") + 8
    data[place] |= 1
    with pytest.raises(AdapterFormatError, match="encrypted"):
        _unpack(tmp_path, bytes(data))


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), max_size=4), st.integers(-9, 99)
)
def test_a_damaged_zip_is_an_adapter_error_or_whole(tmp_path_factory, changes, cut):
    data = bytearray(peft_zip())
    del data[len(data) - max(cut, 0) :]
    for place, value in changes:
        data[place % len(data)] = value
    folder = tmp_path_factory.mktemp("damaged")
    try:
        files = _unpack(folder, bytes(data))
    except AdapterError:
        return
    assert set(files) == {CONFIG_FILE, WEIGHTS_FILE}
