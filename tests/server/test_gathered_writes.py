"""Writes of one turn of the event loop go out together."""

import asyncio

from realm.server.front.gathered_writes import GatheredWrites


class Transport:
    """What reached it."""

    def __init__(self):
        self.calls = []

    def write(self, data):
        self.calls.append(data)

    def close(self):
        self.calls.append("close")

    def abort(self):
        self.calls.append("abort")

    def is_closing(self):
        return "close" in self.calls or "abort" in self.calls

    def get_write_buffer_size(self):
        return 5

    def get_extra_info(self, name):
        return f"{name}?"


def run(action):
    """What the transport was told when the action was over and the loop had turned once more."""

    async def main():
        transport = Transport()
        gathered = GatheredWrites(transport, asyncio.get_running_loop())
        await action(gathered)
        await asyncio.sleep(0)
        return transport.calls

    return asyncio.run(main())


def test_one_call_a_turn():
    async def action(gathered):
        gathered.write(b"head")
        gathered.write(b"body")
        assert gathered.get_write_buffer_size() == 13
        await asyncio.sleep(0)
        gathered.write(b"next")

    assert run(action) == [b"headbody", b"next"]


def test_much_is_not_gathered():
    part = bytes(40_000)

    async def action(gathered):
        for _ in range(5):
            gathered.write(part)
        assert gathered.get_write_buffer_size() == len(part) + 5

    assert run(action) == [part * 2, part * 2, part]


def test_closing_sends_what_was_written_and_nothing_later():
    async def action(gathered):
        gathered.write(b"end")
        gathered.close()
        gathered.write(b"late")

    assert run(action) == [b"end", "close"]


def test_aborting_drops_it():
    async def action(gathered):
        gathered.write(b"end")
        gathered.abort()
        assert gathered.get_write_buffer_size() == 5

    assert run(action) == ["abort"]


def test_all_else_is_the_transports_own():
    async def action(gathered):
        assert gathered.get_extra_info("peername") == "peername?"
        assert not gathered.is_closing()

    assert run(action) == []
