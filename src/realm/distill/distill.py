"""All of it: listen to a target, train a draft on that, write it, and count what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from realm.distill.acceptance import Acceptance, count_acceptance, foretold
from realm.distill.beginning import draft_shape, first_weights, weights_of
from realm.distill.corpus import Text, load_corpus
from realm.distill.draft_file import check_blocks, write_draft
from realm.distill.listening import Listening, listen
from realm.distill.network import DraftNetwork
from realm.distill.training import Training, train
from realm.distill.vocabulary import choose_tokens, tokens_of
from realm.errors import ConfigError
from realm.model import DraftModel, ModelStorage, StoredModel, match_draft

_HELD_OUT_EVERY = 25
_HELD_OUT_MOST = 240


@dataclass(frozen=True, slots=True)
class Distilling:
    """output: where the draft is written. corpus: where what the target said is kept, and read
    from when it is there; several are read. from_draft: an earlier draft of the target, from whose
    tokens and weights this one goes on. vocabulary: tokens of the draft. from_layers: which of the
    target's layers each of the draft's begins as. feature_layers: of the target, of which the draft
    reads features besides the head's. tied: the head is the token embedding. block_type: of the
    layers' weights; embedding_block_type: of embedding and head. threads: of the engine; 0 takes
    every processor.
    """

    output: Path
    corpus: tuple[Path, ...] = ()
    from_draft: Path | None = None
    vocabulary: int = 6144
    from_layers: tuple[int, ...] = (0,)
    feature_layers: tuple[int, ...] = ()
    tied: bool = False
    block_type: str = "Q4_1"
    embedding_block_type: str = "Q4_1"
    listening: Listening = field(default_factory=Listening)
    training: Training = field(default_factory=Training)
    threads: int = 0

    def __post_init__(self) -> None:
        if not self.from_layers:
            raise ConfigError("a draft has at least one layer")
        if self.vocabulary < 2:
            raise ConfigError(f"a draft knows at least two tokens, not {self.vocabulary}")
        if not self.output.absolute().parent.is_dir():
            raise ConfigError(f"{self.output.parent} is no folder")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is. loss: nats; agreement: the draft's likeliest token is the target's, a
    share of a step's tokens; both only while it trains."""

    stage: str
    done: int
    total: int
    loss: float | None = None
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Distilled:
    """What has become of it.

    texts, tokens: what training saw of the target's answers. known_share: of their tokens, those
    that the draft knows. loss: nats, of the last steps. held_out, held_out_greedy: the written
    draft on answers that training never saw, all of them and those at temperature 0.
    """

    file_bytes: int
    texts: int
    tokens: int
    known_share: float
    loss: float
    held_out: Acceptance
    held_out_greedy: Acceptance

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "file_bytes": self.file_bytes,
            "texts": self.texts,
            "tokens": self.tokens,
            "known_share": self.known_share,
            "loss": self.loss,
            "held_out": self.held_out.as_dict(),
            "held_out_greedy": self.held_out_greedy.as_dict(),
        }


def distill(target: Path, options: Distilling, report: Callable[[Progress], None]) -> Distilled:
    """Make a draft for the model in the file `target`.

    Raises ConfigError for options that do not fit the model, and what ModelStorage.load raises.
    """
    storage = ModelStorage(options.threads)
    model = storage.load(target)
    # Before an hour is spent: what does not fit the model.
    layers = options.feature_layers
    vocabulary = None
    if options.from_draft is not None:
        earlier = match_draft(model, storage.load(options.from_draft))
        vocabulary = tokens_of(earlier)
    size = options.vocabulary if vocabulary is None else len(vocabulary)
    shape = draft_shape(model, size, options.from_layers, layers, tied=options.tied)
    check_blocks(shape, options.block_type, options.embedding_block_type)
    known = {} if vocabulary is None else weights_of(earlier.stored, shape)
    taught, held_out = _split(_hear(model, options, report))
    if vocabulary is None:
        vocabulary = choose_tokens(model, taught, options.vocabulary)
    shape, weights = first_weights(
        model,
        vocabulary,
        options.from_layers,
        layers,
        tied=options.tied,
        seed=options.training.seed,
    )
    network = DraftNetwork(shape, weights | known)
    losses: list[float] = []

    def trained(step: int, steps: int, loss: float, right: float) -> None:
        losses.append(loss)
        report(Progress("training", step, steps, loss, right))

    weights = train(network, vocabulary, taught, options.training, trained)
    write_draft(
        options.output,
        model,
        vocabulary,
        shape,
        weights,
        block_type=options.block_type,
        embedding_block_type=options.embedding_block_type,
        facts={"general.name": f"{options.output.stem} (draft)"},
    )
    draft = match_draft(model, storage.load(options.output))
    rows = _measure(draft, held_out, report)
    outputs = [vocabulary.from_target[text.output] for text in taught]
    tokens = sum(map(len, outputs))
    familiar = sum(int((each < len(vocabulary) - 1).sum()) for each in outputs)
    last = losses[-max(1, len(losses) // 20) :]
    return Distilled(
        file_bytes=options.output.stat().st_size,
        texts=len(taught),
        tokens=tokens,
        known_share=familiar / tokens,
        loss=sum(last) / len(last),
        held_out=rows[0],
        held_out_greedy=rows[1],
    )


def _hear(
    model: StoredModel, options: Distilling, report: Callable[[Progress], None]
) -> list[Text]:
    layers = options.feature_layers
    if len(options.corpus) > 1 or (options.corpus and options.corpus[0].exists()):
        texts = [text for path in options.corpus for text in _read(path, model, layers)]
        kept = sorted({text.top_tokens.shape[1] for text in texts})
        if len(kept) > 1:
            raise ConfigError(f"the corpora keep different numbers of likeliest tokens: {kept}")
        return texts
    total = options.listening.tokens

    def heard(count: int) -> None:
        report(Progress("listening", min(count, total), total))

    listening = replace(options.listening, feature_layers=layers)
    corpus = listen(model, listening, options.threads, heard)
    for path in options.corpus:
        corpus.save(path)
    return list(corpus.texts())


def _read(path: Path, model: StoredModel, layers: Sequence[int]) -> Iterator[Text]:
    shape = model.hyperparameters
    corpus = load_corpus(path, shape.vocabulary_size)
    if corpus.features.shape[2] != shape.hidden_size:
        raise ConfigError(f"{path}: features of a model of another size")
    try:
        return corpus.with_layers(layers).texts()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _split(texts: Sequence[Text]) -> tuple[list[Text], list[Text]]:
    """What is taught, and what is kept from it: every 25th, of fewer the last one."""
    if len(texts) < 2:
        raise ConfigError("one answer is not enough: some are taught, others measure the draft")
    kept = set(range(_HELD_OUT_EVERY - 1, len(texts), _HELD_OUT_EVERY)) or {len(texts) - 1}
    kept = set(sorted(kept)[:_HELD_OUT_MOST])
    return (
        [text for index, text in enumerate(texts) if index not in kept],
        [text for index, text in enumerate(texts) if index in kept],
    )


def _measure(
    draft: DraftModel, texts: Sequence[Text], report: Callable[[Progress], None]
) -> tuple[Acceptance, Acceptance]:
    """Of all texts, and of the greedy ones."""
    found = []
    for index, text in enumerate(texts, 1):
        found.append(foretold(draft, text.tokens, text.output_begin, text.features))
        report(Progress("measuring", index, len(texts)))
    greedy = [each for each, text in zip(found, texts, strict=True) if text.greedy]
    return count_acceptance(found), count_acceptance(greedy)
