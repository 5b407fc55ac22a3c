"""What the `gguf` package writes comes back equal."""

import tempfile
from pathlib import Path

import numpy as np
from attacks.gguf.files import F64, STRING, U8, Value, array, arrays, file, key, number, text, texts
from hypothesis import given, settings
from hypothesis import strategies as st

import gguf
from realm.gguf import StringArray, open_gguf
from realm.kernels.block_types import BlockType

NUMBERS = {
    gguf.GGUFValueType.UINT8: (st.integers(0, 2**8 - 1), np.uint8),
    gguf.GGUFValueType.INT8: (st.integers(-(2**7), 2**7 - 1), np.int8),
    gguf.GGUFValueType.UINT16: (st.integers(0, 2**16 - 1), np.uint16),
    gguf.GGUFValueType.INT16: (st.integers(-(2**15), 2**15 - 1), np.int16),
    gguf.GGUFValueType.UINT32: (st.integers(0, 2**32 - 1), np.uint32),
    gguf.GGUFValueType.INT32: (st.integers(-(2**31), 2**31 - 1), np.int32),
    gguf.GGUFValueType.UINT64: (st.integers(0, 2**64 - 1), np.uint64),
    gguf.GGUFValueType.INT64: (st.integers(-(2**63), 2**63 - 1), np.int64),
    gguf.GGUFValueType.FLOAT32: (st.floats(width=32, allow_nan=False), np.float32),
    gguf.GGUFValueType.FLOAT64: (st.floats(allow_nan=False), np.float64),
    gguf.GGUFValueType.BOOL: (st.booleans(), np.bool_),
}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
SCALARS = st.one_of(
    [st.tuples(st.just(kind), values) for kind, (values, _) in NUMBERS.items()]
    + [st.tuples(st.just(gguf.GGUFValueType.STRING), TEXTS)]
)
ARRAYS = st.one_of(
    [
        st.tuples(st.just(kind), st.lists(values, min_size=1, max_size=20))
        for kind, (values, _) in NUMBERS.items()
    ]
    + [st.tuples(st.just(gguf.GGUFValueType.STRING), st.lists(TEXTS, min_size=1, max_size=20))]
)
KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
    lambda name: not name.startswith(("general.", "GGUF."))
)
TENSOR_TYPES = {np.float32: BlockType.F32, np.float16: BlockType.F16, np.int32: BlockType.I32}
TENSORS = st.tuples(
    st.lists(st.integers(1, 5), min_size=1, max_size=4), st.sampled_from(list(TENSOR_TYPES))
)


@settings(max_examples=60, deadline=None)
@given(
    scalars=st.dictionaries(KEYS.map("s.{}".format), SCALARS, max_size=8),
    lists=st.dictionaries(KEYS.map("a.{}".format), ARRAYS, max_size=8),
    tensors=st.dictionaries(KEYS, TENSORS, max_size=5),
    alignment=st.sampled_from([8, 32, 64, 4096]),
)
def test_written_by_the_gguf_package(
    scalars: dict, lists: dict, tensors: dict, alignment: int
) -> None:
    random = np.random.default_rng(0)
    arrays_of = {
        name: random.integers(0, 100, shape).astype(kind) for name, (shape, kind) in tensors.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "written.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_custom_alignment(alignment)
        for name, (kind, value) in scalars.items():
            writer.add_key_value(name, value, kind)
        for name, (kind, values) in lists.items():
            writer.add_key_value(name, values, gguf.GGUFValueType.ARRAY, sub_type=kind)
        for name, values in arrays_of.items():
            writer.add_tensor(name, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with open_gguf(path) as file_read:
            assert file_read.version == 3
            assert file_read.alignment == alignment
            assert file_read.data_offset % alignment == 0
            assert set(file_read.metadata) == {
                "general.architecture",
                "general.alignment",
                *scalars,
                *lists,
            }
            for name, (_, value) in scalars.items():
                assert file_read.metadata[name] == value
                assert type(file_read.metadata[name]) is type(value)
            for name, (kind, values) in lists.items():
                found = file_read.metadata[name]
                assert list(found) == values
                if kind is gguf.GGUFValueType.STRING:
                    assert isinstance(found, StringArray)
                else:
                    assert found.dtype == NUMBERS[kind][1]
                    assert found.dtype.type is NUMBERS[kind][1]
                    assert not found.flags.writeable
            assert list(file_read.tensors) == list(arrays_of)
            for name, values in arrays_of.items():
                info = file_read.tensors[name]
                assert info.shape == values.shape
                assert info.block_type is TENSOR_TYPES[values.dtype.type]
                data = file_read.tensor_data(name)
                assert data.tobytes() == values.tobytes()
                del data


@given(
    deep=st.recursive(
        st.lists(st.integers(0, 255), max_size=4),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_arrays_within_arrays(deep: list) -> None:
    def build(value: list, depth: int) -> Value:
        if depth == 4 or not any(isinstance(each, list) for each in value):
            return array(U8, [each for each in value if isinstance(each, int)])
        return arrays([build(each, depth + 1) for each in value])

    def same(found: object, value: list, depth: int) -> bool:
        if depth == 4 or not any(isinstance(each, list) for each in value):
            return list(found) == [each for each in value if isinstance(each, int)]
        return len(found) == len(value) and all(
            same(one, other, depth + 1) for one, other in zip(found, value, strict=True)
        )

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nested.gguf"
        path.write_bytes(file([key("deep", build(deep, 1))]))
        with open_gguf(path) as opened:
            assert same(opened.metadata["deep"], deep, 1)


def test_a_tuple_of_different_arrays(tmp_path: Path) -> None:
    path = tmp_path / "nested.gguf"
    items = [array(U8, [1, 2]), texts(["x", ""]), array(F64, []), arrays([texts([])])]
    path.write_bytes(
        file([key("k", arrays(items)), key("n", number(F64, 0.1)), key("t", text(""))])
    )
    with open_gguf(path) as opened:
        first, second, third, fourth = opened.metadata["k"]
        assert opened.metadata["n"] == 0.1
        assert opened.metadata["t"] == ""
    assert first.tolist() == [1, 2] and first.dtype == np.uint8
    assert second.to_list() == ["x", ""]
    assert third.shape == (0,) and third.dtype == np.float64
    assert fourth[0].to_list() == []
    assert STRING == gguf.GGUFValueType.STRING
