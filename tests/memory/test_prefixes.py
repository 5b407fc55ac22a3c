"""What is known of pages: found by everything that their bytes depend on, and compared."""

from dataclasses import fields, replace

import pytest

from realm.memory import PrefixCache, PrefixKey, PrefixScope, chain_hash

SCOPE = PrefixScope("model", "tenant", ((b"adapter", 2.0),))
TOKENS = (1, 2, 3)
KEY = PrefixKey(SCOPE, chain_hash(b"", TOKENS))


@pytest.mark.parametrize("name", [field.name for field in fields(PrefixScope)])
def test_every_part_of_the_scope_keeps_pages_apart(name: str) -> None:
    cache = PrefixCache()
    cache.add(KEY, None, TOKENS, 7)
    other = replace(SCOPE, **{name: ((b"adapter", 3.0),) if name == "adapters" else "other"})
    assert cache.find(PrefixKey(other, KEY.chain), None, TOKENS) is None
    found = cache.find(KEY, None, TOKENS)
    assert found is not None
    assert found.page == 7


def test_a_hash_alone_is_not_believed() -> None:
    cache = PrefixCache()
    cache.add(KEY, None, TOKENS, 7)
    first = cache.find(KEY, None, TOKENS)
    assert cache.find(KEY, None, (1, 2, 4)) is None
    second = PrefixKey(SCOPE, chain_hash(KEY.chain, TOKENS))
    assert cache.add(second, first, TOKENS, 8)
    assert cache.find(second, None, TOKENS) is None
    assert cache.find(second, first, TOKENS) is not None
    assert not cache.add(KEY, None, (9, 9, 9), 10)
    assert 10 not in cache


def test_a_chain_tells_order_and_boundaries_apart() -> None:
    chains = {
        chain_hash(b"", (1, 2)),
        chain_hash(b"", (2, 1)),
        chain_hash(chain_hash(b"", (1,)), (2,)),
        chain_hash(b"", (1, 2, 0)),
    }
    assert len(chains) == 4


def test_the_longest_idle_page_goes_first_and_pages_in_use_never() -> None:
    cache = PrefixCache()
    for page in range(4):
        cache.add(PrefixKey(SCOPE, bytes([page])), None, (page,), page)
    for page in (2, 0, 1):
        cache.rest(page)
    cache.use(0)
    assert cache.idle_count == 2
    assert [cache.evict(), cache.evict(), cache.evict()] == [2, 1, None]
    assert 2 not in cache
    assert 0 in cache
    assert 3 in cache


def test_an_owner_can_be_forgotten() -> None:
    cache = PrefixCache()
    other = PrefixKey(replace(SCOPE, owner="other"), KEY.chain)
    cache.add(KEY, None, TOKENS, 1)
    cache.add(other, None, TOKENS, 2)
    cache.rest(1)
    assert cache.pages_of("tenant") == [1]
    assert sorted(cache.pages_of()) == [1, 2]
    cache.forget(1)
    assert cache.idle_count == 0
    assert cache.find(KEY, None, TOKENS) is None
    assert cache.find(other, None, TOKENS) is not None
