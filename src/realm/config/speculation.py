"""Whether and how far tokens are drafted ahead."""

from __future__ import annotations

from dataclasses import dataclass

from realm.errors import ConfigError

MOST_DRAFTED = 256


@dataclass(frozen=True, slots=True)
class SpeculativeConfig:
    """Drafts never change a text, only how soon it is there.

    draft_k: most drafted tokens of one session in a step; 0 turns speculation off. How many there
        are in a step is chosen by what they are likely to bring and what they cost.
    max_draft_tokens: most drafted tokens of one step, of all sessions together.
    suffix: draft from a session's own prompt and output.
    suffix_tokens: how many of a session's latest tokens are kept for that.
    history_tokens, history_entries: how much of a tenant's recent outputs is kept to draft from,
        for this tenant alone; 0 keeps none.
    all_history_tokens: how much is kept of all tenants' outputs together; who has been silent for
        longest is forgotten first.
    draft_cache_bytes: address space for the cache pages of a draft model, beside those of its
        target; memory is used only as pages fill.
    """

    draft_k: int = 15
    max_draft_tokens: int = 64
    suffix: bool = True
    suffix_tokens: int = 16384
    history_tokens: int = 16384
    history_entries: int = 64
    all_history_tokens: int = 1 << 18
    draft_cache_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        for name in ("draft_k", "max_draft_tokens"):
            value = getattr(self, name)
            if not 0 <= value <= MOST_DRAFTED:
                raise ConfigError(f"{name} must be in 0..{MOST_DRAFTED}, not {value}")
        if not 64 <= self.suffix_tokens <= 1 << 20:
            raise ConfigError(f"suffix_tokens must be in 64..{1 << 20}, not {self.suffix_tokens}")
        for name, most in (
            ("history_tokens", 1 << 20),
            ("history_entries", 1 << 20),
            ("all_history_tokens", 1 << 24),
        ):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ConfigError(f"{name} must be in 0..{most}, not {value}")

        if self.draft_cache_bytes < 1:
            raise ConfigError(f"draft_cache_bytes must be > 0, not {self.draft_cache_bytes}")

    @property
    def enabled(self) -> bool:
        """Whether anything may be drafted."""
        return self.draft_k > 0 and self.max_draft_tokens > 0
