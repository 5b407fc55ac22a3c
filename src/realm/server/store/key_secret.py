"""The text of a key: how one is drawn, taken apart, and what is kept of it.

    realm_PREFIX_SECRET         a tenant's
    realm_admin_PREFIX_SECRET   an admin's

PREFIX is 8 of a-z and 0-9, SECRET 32 random bytes as base64url (RFC 4648, section 5), without
padding. Only the SHA-256 of the whole text is kept. A slow password hash would buy nothing: it is
there to make guessing few likely words expensive, and nobody guesses 256 random bits; but it would
let anyone burn the server's time with wrong keys.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string

_LETTERS = string.ascii_lowercase + string.digits
_PREFIX_LENGTH, _SECRET_BYTES = 8, 32
_PREFIX = re.compile(r"realm_(?:admin_)?[a-z0-9]{8}")
_KEY = re.compile(r"(realm_(?:admin_)?[a-z0-9]{8})_[A-Za-z0-9_-]{43}")


def draw_secret(*, is_admin: bool) -> tuple[str, str]:
    """A new key's prefix, and the whole of it."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_PREFIX_LENGTH))
    prefix = f"realm_admin_{letters}" if is_admin else f"realm_{letters}"
    return prefix, f"{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def prefix_of(secret: str) -> str | None:
    """What a key is looked up by; None for a text that is no key."""
    found = _KEY.fullmatch(secret)
    return None if found is None else found[1]


def is_prefix(text: str) -> bool:
    """Whether a key may have this prefix."""
    return _PREFIX.fullmatch(text) is not None


def digest_of(secret: str) -> bytes:
    """What is kept of a key, 32 bytes. Takes any text, also half a surrogate."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
