"""Which model may draft for which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from tests.tiny_model import VOCABULARY, TinyModel

import gguf
from realm.errors import DraftMismatchError
from realm.model import ModelStorage, StoredModel, match_draft, vocabulary_digest

Writer = Callable[..., StoredModel]


@dataclass(frozen=True)
class DraftFile(TinyModel):
    """With a draft's metadata."""

    extra: dict[str, object] = field(default_factory=dict)

    def _write_metadata(self, writer: gguf.GGUFWriter) -> None:
        super()._write_metadata(writer)
        for key, value in self.extra.items():
            if isinstance(value, str):
                writer.add_string(key, value)
            else:
                writer.add_array(key, value)


class OtherWords(TinyModel):
    """As many tokens, but not the same."""

    def _write_metadata(self, writer: gguf.GGUFWriter) -> None:
        super()._write_metadata(writer)
        tokens = writer.kv_data[-1]["tokenizer.ggml.tokens"].value
        tokens[-2] = "<|another|>"


@pytest.fixture(scope="module")
def storage() -> ModelStorage:
    return ModelStorage(threads=1)


@pytest.fixture(scope="module")
def target(storage: ModelStorage, tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    return storage.load(TinyModel().write(tmp_path_factory.mktemp("target") / "target.gguf"))


@pytest.fixture
def load_draft(storage: ModelStorage, target: StoredModel, tmp_path: Path) -> Writer:
    def load(token_ids: object, vocabulary: str | None = None) -> StoredModel:
        extra = {
            "realm.draft.token_ids": token_ids,
            "realm.draft.vocabulary": vocabulary or vocabulary_digest(target),
        }
        return storage.load(DraftFile(block_type="Q8_0", extra=extra).write(tmp_path / "d.gguf"))

    return load


def test_the_same_vocabulary(storage: ModelStorage, target: StoredModel, tmp_path: Path) -> None:
    draft = storage.load(TinyModel(block_type="Q4_0").write(tmp_path / "draft.gguf"))
    found = match_draft(target, draft)
    assert found.stored is draft
    assert found.tokens_of([3, 5]) == [3, 5]
    assert found.target_token(7) == 7


def test_other_tokens(storage: ModelStorage, target: StoredModel, tmp_path: Path) -> None:
    draft = storage.load(OtherWords().write(tmp_path / "draft.gguf"))
    with pytest.raises(DraftMismatchError, match="other tokens than"):
        match_draft(target, draft)


def test_a_trimmed_vocabulary(load_draft: Writer, target: StoredModel) -> None:
    ids = [-1, *range(VOCABULARY - 1, 0, -1)]
    found = match_draft(target, load_draft(ids))
    assert found.tokens_of([319, 1, 0]) == [1, 319, 0]
    assert [found.target_token(each) for each in (0, 1, 319)] == [-1, 319, 1]


@pytest.mark.parametrize(
    ("token_ids", "words"),
    [
        ([-1, *range(VOCABULARY - 2)], "does not have 320 entries"),
        ([*range(VOCABULARY)], "0 tokens for all others"),
        ([-1, -1, *range(VOCABULARY - 2)], "2 tokens for all others"),
        ([-1, *range(VOCABULARY - 2), VOCABULARY], r"token_ids\[319\] is 320"),
        ([-2, *range(VOCABULARY - 1)], r"token_ids\[0\] is -2"),
        ([-1, *range(VOCABULARY - 2), 0], "names a token twice"),
        (["a"] * VOCABULARY, "no list of tokens"),
        ("text", "no list of tokens"),
    ],
)
def test_a_wrong_list(
    load_draft: Writer, target: StoredModel, token_ids: object, words: str
) -> None:
    with pytest.raises(DraftMismatchError, match=words):
        match_draft(target, load_draft(token_ids))


def test_another_target(load_draft: Writer, target: StoredModel) -> None:
    draft = load_draft([-1, *range(VOCABULARY - 1)], "0" * 64)
    with pytest.raises(DraftMismatchError, match="another vocabulary"):
        match_draft(target, draft)


def test_another_size(target: StoredModel, smollm2_path: Path) -> None:
    draft = ModelStorage(threads=2).load(smollm2_path)
    with pytest.raises(DraftMismatchError, match=r"49152 tokens.*has 320"):
        match_draft(target, draft)
    assert np.array_equal(match_draft(draft, draft).tokens_of([1, 2]), [1, 2])
