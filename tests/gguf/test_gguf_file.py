"""An open file: what it shows, how it is closed, what it costs."""

import hashlib
import os
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from attacks.gguf import files as g

from realm.errors import (
    GGUFCountError,
    GGUFError,
    GGUFMetadataError,
    GGUFOpenError,
    GGUFTensorError,
    GGUFTruncatedError,
)
from realm.gguf import StringArray, TensorInfo, open_gguf
from realm.kernels.block_types import BlockType


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(g.model_file())
    return path


def resident_bytes(path: Path) -> int:
    """Resident memory of this process's maps of `path`."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.mark.parametrize("version", [2, 3])
def test_a_whole_file(tmp_path: Path, version: int) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(g.model_file(version))
    with open_gguf(str(path)) as file:
        assert file.path == path
        assert file.version == version
        assert file.size_bytes == path.stat().st_size
        assert file.alignment == 32
        assert file.metadata["general.name"] == "Übung 模型"
        assert file.metadata["test.scalar.7"] is True
        assert [file.metadata[f"test.scalar.{kind}"] for kind in (0, 6, 12)] == [1, 1.0, 1.0]
        assert file.metadata["test.bools"].tolist() == [True, False]
        assert file.tensors["token_embd.weight"] == TensorInfo(
            "token_embd.weight", (6, 64), BlockType.Q4_1, file.data_offset, 240
        )
        assert list(file.tensors)[1] == "blk.0.attn_norm.weight"
        ends = [info.end for info in file.tensors.values()]
        assert ends == sorted(ends)
        with pytest.raises(TypeError):
            file.metadata["x"] = 1
        with pytest.raises(TypeError):
            file.tensors["x"] = None


def test_every_cut_is_a_truncated_file(tmp_path: Path) -> None:
    whole = g.model_file()
    path = tmp_path / "cut.gguf"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(GGUFTruncatedError, match=re.escape(str(path))):
            open_gguf(path)


def test_trailing_bytes_and_gaps_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "gap.gguf"
    tensors = [g.tensor("b", (8,), 0, offset=256), g.tensor("a", (8,), 0, offset=0)]
    path.write_bytes(g.file([], tensors, data=bytes(range(256)) * 2))
    with open_gguf(path) as file:
        assert list(file.tensors) == ["b", "a"]
        assert file.tensor_data("b").tolist() == list(range(32))


def test_no_tensors_and_scalar_tensors(tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    path.write_bytes(g.file([g.key("k", g.number(g.U8, 1))], alignment=1))
    with open_gguf(path) as file:
        assert dict(file.tensors) == {}
    path.write_bytes(g.file([], [g.tensor("scale", (), 0)], data=np.float32(3).tobytes()))
    with open_gguf(path) as file:
        assert file.tensors["scale"].shape == ()
        assert file.tensor_data("scale").view(np.float32).item() == 3


def test_require(model: Path) -> None:
    with open_gguf(model) as file:
        assert file.require("llama.block_count", int) == 1
        assert file.require("general.name", str) == "Übung 模型"
        assert file.require("llama.rope.freq_base", float) == 10000.0
        as_float = file.require("llama.block_count", float)
        assert as_float == 1.0 and type(as_float) is float
        assert file.require("test.scalar.7", bool) is True
        assert file.require("tokenizer.ggml.scores", np.ndarray).shape == (6,)
        assert len(file.require("tokenizer.ggml.tokens", StringArray)) == 6
        assert file.get("llama.block_count", int, 9) == 1
        assert file.get("llama.absent", int, 9) == 9
        for key, kind in (
            ("llama.absent", int),
            ("general.name", int),
            ("test.scalar.7", int),
            ("test.scalar.7", float),
            ("llama.rope.freq_base", int),
            ("llama.block_count", bool),
            ("tokenizer.ggml.tokens", np.ndarray),
        ):
            with pytest.raises(GGUFMetadataError, match=f"{re.escape(str(model))}.*{key}"):
                file.require(key, kind)
        with pytest.raises(GGUFMetadataError, match=r"general\.name"):
            file.get("general.name", int, 9)


def test_views_are_read_only_and_no_copies(model: Path) -> None:
    with open_gguf(model) as file:
        info = file.tensors["blk.0.attn_norm.weight"]
        view = file.tensor_data(info.name)
        again = file.tensor_data(info.name)
        assert view.size == info.size_bytes
        assert np.shares_memory(view, again)
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            view.flags.writeable = True


def test_closing(model: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    file = open_gguf(model)
    view = file.tensor_data("token_embd.weight")
    tokens = file.require("tokenizer.ggml.tokens", StringArray)
    file.close()
    file.close()
    assert view.sum() == 0
    assert tokens[4] == "▁the"
    assert file.metadata["tokenizer.ggml.scores"][1] == -1.0
    file.release("token_embd.weight")
    with pytest.raises(GGUFOpenError, match="closed"):
        file.tensor_data("token_embd.weight")
    with pytest.raises(GGUFOpenError, match="closed"):
        file.content_hash()
    del view
    assert resident_bytes(model) == 0
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_that_is_wrong_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "wrong.gguf"
    path.write_bytes(g.model_file()[:-1])
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(GGUFTruncatedError) as raised:
        open_gguf(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert str(path) not in Path("/proc/self/maps").read_text(), raised


def test_unknown_tensor(model: Path) -> None:
    with open_gguf(model) as file:
        for use in (file.tensor, file.tensor_data, file.release):
            with pytest.raises(GGUFTensorError, match=r"blk\.9"):
                use("blk.9")


def test_release_gives_memory_back_and_data_stays(tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    data = np.random.default_rng(0).integers(0, 256, 8 << 20, dtype=np.uint8)
    tensors = [g.tensor("a", (1 << 20,), 0), g.tensor("b", (1 << 20,), 0)]
    path.write_bytes(g.file([], tensors, data=data.tobytes()))
    with open_gguf(path) as file:
        view = file.tensor_data("a")
        total = int(view.sum(dtype=np.int64))
        full = resident_bytes(path)
        assert full >= 4 << 20
        file.release("a")
        assert resident_bytes(path) < full - (3 << 20)
        assert int(view.sum(dtype=np.int64)) == total
        del view


def test_content_hash(tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    path.write_bytes(g.model_file() + bytes(range(256)) * (40 << 10))
    with open_gguf(path) as file:
        before = resident_bytes(path)
        assert file.content_hash() == hashlib.sha256(path.read_bytes()).hexdigest()
        assert resident_bytes(path) == before
        assert file.content_hash() == file.content_hash()


def test_content_hash_of_a_file_that_shrank(model: Path) -> None:
    with open_gguf(model) as file:
        os.truncate(model, 100)
        with pytest.raises(GGUFTruncatedError, match="shrunk"):
            file.content_hash()


def test_paths_that_cannot_be_opened(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, loop = tmp_path / "pipe", tmp_path / "loop"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    for path, text in (
        (tmp_path, "directory"),
        (tmp_path / "absent.gguf", "No such file"),
        (model / "below", "Not a directory"),
        (pipe, "not a regular file"),
        (loop, "cannot be opened"),
        (Path("/dev/zero"), "not a regular file"),
        ("a\0b", "null"),
        ("", "No such file"),
        ("x" * 5000, "too long"),
    ):
        with pytest.raises(GGUFOpenError, match=text):
            open_gguf(path)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(GGUFOpenError, match="Permission denied"):
        open_gguf(model)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (g.key("k", g.Value(g.STRING, g.u64(2**39))), GGUFCountError),
        (g.key("k", g.Value(g.STRING, g.u64(256 << 20))), GGUFCountError),
        (g.key("k", g.array(g.U64, [], count=2**30)), GGUFCountError),
        (g.key("k", g.array(g.U64, [], count=2**25)), GGUFCountError),
        (g.key("k", g.texts([], count=2**25)), GGUFCountError),
        (g.key("k", g.arrays([], count=2**20)), GGUFCountError),
    ],
)
def test_a_sparse_terabyte_takes_no_memory(
    tmp_path: Path, key: bytes, error: type[GGUFError]
) -> None:
    path = tmp_path / "sparse.gguf"
    path.write_bytes(g.MAGIC + g.u32(3) + g.u64(0) + g.u64(1) + key)
    os.truncate(path, 1 << 40)
    tracemalloc.start()
    try:
        with pytest.raises(error, match="'k'"):
            open_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
