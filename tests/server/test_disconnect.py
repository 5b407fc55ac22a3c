"""Work that ends with its client, in the task that it began in."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect

from realm.server.front.disconnect import unless_gone


class Client:
    """`gone`: set when it goes."""

    def __init__(self):
        self.gone = asyncio.Event()

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}


def test_the_result_comes_through_and_nobody_listens_any_more():
    async def main():
        client = Client()
        here = asyncio.current_task()

        async def work():
            await asyncio.sleep(0)
            assert asyncio.current_task() is here
            return 7

        assert await unless_gone(client.receive, work()) == 7
        client.gone.set()
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {here}
        assert not here.cancelling()

    asyncio.run(main())


def test_an_error_comes_through():
    async def main():
        async def work():
            await asyncio.sleep(0)
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            await unless_gone(Client().receive, work())

    asyncio.run(main())


@pytest.mark.parametrize("is_late", [False, True])
def test_work_ends_when_the_client_goes(is_late):
    async def main():
        client = Client()
        ends = []

        async def work():
            try:
                if is_late:  # what it waits for is there in the turn in which the client goes
                    asyncio.get_running_loop().call_soon(client.gone.set)
                    await asyncio.sleep(0)
                else:
                    client.gone.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ends.append("cleaned up")

        with pytest.raises(ClientDisconnect):
            await unless_gone(client.receive, work())
        assert ends == ["cleaned up"]
        assert not asyncio.current_task().cancelling()
        await asyncio.sleep(0)  # and the task goes on as any other

    asyncio.run(main())


def test_a_broken_connection_counts_as_gone():
    async def broken():
        raise ConnectionResetError

    async def main():
        with pytest.raises(ClientDisconnect):
            await unless_gone(broken, asyncio.Event().wait())

    asyncio.run(main())


def test_whoever_cancels_the_request_gets_a_cancellation():
    async def main():
        client = Client()
        task = asyncio.create_task(unless_gone(client.receive, asyncio.Event().wait()))
        await asyncio.sleep(0)
        client.gone.set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
