"""The WebSocket protocol with nothing but a WebSocket library: pip install websockets

URL=ws://127.0.0.1:8000/ws REALM_API_KEY=realm_... python websocket_chat.py
"""

import asyncio
import json
import os

import websockets


async def main() -> None:
    url = os.environ.get("URL", "ws://127.0.0.1:8000/ws")
    async with websockets.connect(url) as connection:
        first = json.loads(await connection.recv())
        if first.get("type") == "auth_required":
            key = os.environ["REALM_API_KEY"]
            await connection.send(json.dumps({"type": "auth", "api_key": key}))
            answer = json.loads(await connection.recv())
            if answer["type"] != "auth_success":
                raise SystemExit(answer["error"])
            first = json.loads(await connection.recv())
        print(first["status"], "as", first["tenant_id"])
        params = {"prompt": "The capital of France is", "max_tokens": 20, "stream": True}
        params["temperature"] = 0
        call = {"id": "1", "function": "generate", "params": params}
        await connection.send(json.dumps(call))
        async for frame in connection:
            answer = json.loads(frame)
            if answer["status"] != "streaming":
                break
            print(answer["data"]["text"], end="", flush=True)
        print()
        if answer["status"] == "error":
            raise SystemExit(answer["error"]["message"])


asyncio.run(main())
