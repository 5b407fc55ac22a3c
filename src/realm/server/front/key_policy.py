"""Whether requests need a key, decided when the server starts."""

from __future__ import annotations

from realm.errors import ConfigError
from realm.server.front.listener import is_loopback
from realm.server.settings import Settings

_HOW = (
    "`realm keys create --admin` makes an admin key, `realm keys create --tenant NAME` a tenant's"
)


def keys_are_required(settings: Settings, *, has_keys: bool) -> bool:
    """Raises ConfigError where others could reach a server that nobody has a key for.

    has_keys: whether any key exists.
    """
    wanted = settings.keys_required
    if is_loopback(settings.host):
        return has_keys if wanted is None else wanted
    if wanted is False:
        return False
    if not has_keys:
        raise ConfigError(
            f"host: {settings.host} can be reached by other machines, and no key exists; {_HOW}"
        )
    return True


def key_notice(settings: Settings, *, required: bool, has_keys: bool) -> str | None:
    """What whoever starts the server should know of it."""
    if required:
        return None if has_keys else f"Every request needs a key, and none exists yet: {_HOW}."
    if is_loopback(settings.host):
        return (
            "Requests need no key, since none exists and only this machine can reach the server: "
            f"{_HOW}."
        )
    return "Requests need no key, and other machines can reach the server: keys_required is false."


def follows_first_key(settings: Settings) -> bool:
    """Whether the first key that is made while the server runs makes keys required."""
    return settings.keys_required is None
