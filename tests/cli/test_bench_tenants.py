"""`realm bench tenants` on a small model: the real runtime, guests, adapter files."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from tests.tiny_model import LAYERS, TinyModel

from realm.cli import tenant_bench
from realm.cli.context import standard_context
from realm.cli.main import main
from realm.cli.random_adapters import packed_bytes, write_random_adapter
from realm.lora import load_adapter
from realm.model import ModelStorage, WeightedAdapter
from realm.runtime import RuntimeManager

TENANTS, TOKENS, ROUNDS = 3, 6, 2


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    return TinyModel().write(tmp_path_factory.mktemp("bench") / "tiny.gguf")


class WatchedRuntime(RuntimeManager):
    """Remembers which adapter each tenant was given, and the files that were loaded."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.given = []
        self.paths = []
        load = self.lora.load

        def remember(name, path, tenant=None):
            self.paths.append(path)
            return load(name, path, tenant)

        self.lora.load = remember

    def set_tenant_lora_adapter(self, tenant_id, name):
        self.given.append((tenant_id, name))
        super().set_tenant_lora_adapter(tenant_id, name)


def bench(model_path, *words):
    """The command's exit code, its output, and the runtime that it used."""
    opened = []

    def open_runtime(configuration, *, program=None, limits=None):
        opened.append(WatchedRuntime(configuration, program, limits=limits))
        return opened[-1]

    context = replace(
        standard_context(),
        stdout=io.StringIO(),
        stderr=io.StringIO(),
        open_runtime=open_runtime,
        measure_bandwidth=lambda threads: 10e9 * threads,
    )
    line = ["bench", "tenants", "--model", model_path, "--tenants", TENANTS, "--rank", 8]
    line += ["--threads", 2, "--tokens", TOKENS, "--prompt-tokens", 5]
    line += ["--repeats", ROUNDS, "--warm-up", 1, *words]
    code = main([str(word) for word in line], context)
    return code, context.stdout.getvalue(), opened[0]


def test_fields_and_alternating_runs(model_path):
    code, output, runtime = bench(model_path, "--json")
    assert code == 0
    document = json.loads(output)
    for key in ("tokens_per_second", "base_tokens_per_second", "adapter_bytes", "peak_rss_bytes"):
        assert document[key] > 0
    assert len(document["runs"]) == len(document["base_runs"]) == ROUNDS
    assert (document["tenants"], document["adapters"], document["rank"]) == (TENANTS, TENANTS, 8)
    adapters = [f"random-{number}" for number in range(TENANTS)]
    names = [name for _, name in runtime.given]
    assert names == ([None] * TENANTS + adapters) * (ROUNDS + 1)
    steps = document["tokens_per_second"] / TENANTS
    limit = document["roofline"]["bandwidth_bytes_per_second"]
    assert limit == 20e9
    bytes_per_step = document["roofline"]["bytes_per_step"]
    assert document["roofline"]["fraction"] == pytest.approx(steps * bytes_per_step / limit)
    model = ModelStorage(1).load(model_path)
    assert bytes_per_step == model.bytes_per_token + document["adapter_bytes"]
    largest = TENANTS * packed_bytes(model.adapter_base, 8)
    assert largest / 4 < document["adapter_bytes"] <= largest
    assert not any(path.exists() for path in runtime.paths)  # nothing stays behind


def test_fewer_and_more_adapters_than_tenants(model_path):
    one = bench(model_path, "--json", "--adapters", 1)
    five = bench(model_path, "--json", "--adapters", 5, "--direct")
    bytes_of_one = json.loads(one[1])["adapter_bytes"]
    assert {name for _, name in one[2].given} == {None, "random-0"}
    assert json.loads(five[1])["adapter_bytes"] == TENANTS * bytes_of_one  # those in use
    assert len(five[2].paths) == 5
    assert json.loads(five[1])["direct"]


def test_a_table_for_people(model_path):
    code, output, _ = bench(model_path)
    assert code == 0
    assert "3 of rank 8" in output
    assert "share of base" in output


@pytest.mark.parametrize("words", [["--rank", "0"], ["--tenants", "x"], ["--adapters", "-1"]])
def test_wrong_usage(model_path, words, capsys):
    line = ["bench", "tenants", "--model", str(model_path), *words]
    assert main(line, standard_context()) == 2
    assert words[0] in capsys.readouterr().err


def test_random_adapters_are_whole_and_differ(model_path, tmp_path):
    model = ModelStorage(1).load(model_path)
    base = model.adapter_base
    found = [
        load_adapter(write_random_adapter(tmp_path / f"{n}.gguf", base, 12, seed), base)
        for n, seed in enumerate((1, 1, 2))
    ]
    assert found[0].digest == found[1].digest != found[2].digest
    assert len(found[0].factors) == 7 * LAYERS
    assert {(factor.rank, factor.scale) for factor in found[0].factors.values()} == {(12, 2.0)}
    packed = model.pack_adapter(found[0])
    assert packed_bytes(base, 12) // 4 < packed.byte_size <= packed_bytes(base, 12)
    change = model.logits([1, 2, 3], [WeightedAdapter(packed)]) - model.logits([1, 2, 3])
    assert 0.01 < float(np.abs(change).mean()) < 1.0


def test_the_phase_is_in_the_help(capsys):
    assert main(["bench", "--help"], standard_context()) == 0
    assert " ".join(tenant_bench.SUMMARY.split()) in " ".join(capsys.readouterr().out.split())
