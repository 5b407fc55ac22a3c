"""Where the time of one request went. Holds marks; reads no clock of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds and tokens of one request.

    queue: from the call to the start. load: what loading the model took when it was loaded.
    prefill: from the start to the first token. decode: from the first token to the last one.
    first_token: from the call to the first token. guest: the program and its host calls (in a
    direct request, the session's own work). native: engine steps that this request was part of.
    total: from the call to the end. tokens_per_second: of decode; 0 with fewer than two tokens.
    """

    prompt_tokens: int
    completion_tokens: int
    queue_seconds: float
    load_seconds: float
    prefill_seconds: float
    decode_seconds: float
    first_token_seconds: float
    guest_seconds: float
    native_seconds: float
    total_seconds: float
    tokens_per_second: float


class Stopwatch:
    """The marks of one request, set by whoever sees the moments pass."""

    def __init__(self, submitted: float) -> None:
        self._submitted = submitted
        self._started: float | None = None
        self._first_token: float | None = None
        self._last_token: float | None = None
        self.guest_seconds = 0.0
        self.native_seconds = 0.0

    def start(self, now: float) -> None:
        self._started = now

    def token(self, now: float) -> None:
        """A step answered with a token."""
        if self._first_token is None:
            self._first_token = now
        self._last_token = now

    def finish(
        self, now: float, *, load_seconds: float, prompt_tokens: int, completion_tokens: int
    ) -> Timings:
        started = now if self._started is None else self._started
        first = now if self._first_token is None else self._first_token
        last = first if self._last_token is None else self._last_token
        decode = last - first
        return Timings(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            queue_seconds=started - self._submitted,
            load_seconds=load_seconds,
            prefill_seconds=first - started,
            decode_seconds=decode,
            first_token_seconds=first - self._submitted,
            guest_seconds=self.guest_seconds,
            native_seconds=self.native_seconds,
            total_seconds=now - self._submitted,
            tokens_per_second=(completion_tokens - 1) / decode
            if decode > 0 and completion_tokens > 1
            else 0.0,
        )
