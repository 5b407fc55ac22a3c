"""The front process from its start to its end: everything made, run, drained and closed.

It listens before there is an engine, so that clients get an answer, if only when to come back. On
SIGTERM or SIGINT it takes nothing new and gives what runs its time; a second signal ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import math
import resource
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import TextIO

import uvicorn
from starlette.applications import Starlette

from realm.errors import ConfigError
from realm.server.definitions import Model
from realm.server.front.admin.content import ContentFolder
from realm.server.front.admin.upload import UPLOADS_FOLDER
from realm.server.front.admission import Admission
from realm.server.front.app import make_app
from realm.server.front.connection import bounded_protocols
from realm.server.front.directory import Directory
from realm.server.front.engine_follower import EngineFollower
from realm.server.front.key_policy import follows_first_key, key_notice, keys_are_required
from realm.server.front.listener import open_listener, shown_address
from realm.server.front.log_thread import logs_in_background
from realm.server.front.logs import configure_logging
from realm.server.front.metrics import FrontMetrics
from realm.server.front.metrics_routes import metrics_app
from realm.server.front.services import Services
from realm.server.front.supervisor import EngineConfiguration, EngineSupervisor, engine_arguments
from realm.server.front.tracing import open_tracing
from realm.server.pipelines import PipelineBook
from realm.server.settings import Settings
from realm.server.store import TenantStore

_LOGGER = logging.getLogger("realm.server")
_FOLLOW_SECONDS = 1.0
_LAST_SECONDS = 3  # for answers that are on their way when the engine has ended
_SPARE_FILES = 512
_QUESTION = "What is the capital of France? Answer in one sentence."


def serve(settings: Settings, models: Sequence[Model], out: TextIO) -> int:
    """Serves until it is told to end; the exit status. models: their files are here.

    out: gets the address and an example. Raises ConfigError for an address that cannot be listened
    on, TenantStoreError, PipelineError, and the engine's error when it cannot start.
    """
    _make_folders(settings)
    pipelines = PipelineBook(settings.pipelines_directory)
    with contextlib.ExitStack() as opened:
        store = opened.enter_context(TenantStore(settings.database_url))
        has_keys = bool(store.keys())
        required = keys_are_required(settings, has_keys=has_keys)
        listeners = [opened.enter_context(open_listener(settings.host, settings.port))]
        if settings.metrics_port is not None:
            metrics = open_listener(settings.metrics_host, settings.metrics_port)
            listeners.append(opened.enter_context(metrics))
        directory = Directory(store, models, keys_required=required, wall_clock=time.time)
        _configure_process(settings)
        opened.enter_context(logs_in_background())
        _greet(settings, models, listeners[0], required, out)
        notice = key_notice(settings, required=required, has_keys=has_keys)
        if notice is not None:
            print(notice, file=out)
        out.flush()
        asyncio.run(_Front(settings, directory, pipelines).run(listeners))
    return 0


class _Front:
    """What runs on the event loop."""

    def __init__(self, settings: Settings, directory: Directory, pipelines: PipelineBook) -> None:
        self._settings = settings
        self._pipelines = pipelines
        self._directory = directory
        self._told_to_end = asyncio.Event()
        self._told_twice = asyncio.Event()

    async def run(self, listeners: Sequence[socket.socket]) -> None:
        """Until it is told to end. Raises what keeps the engine from its first start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        async with AsyncExitStack() as stack:
            supervisor = EngineSupervisor(self._known, engine_arguments(self._settings))
            stack.push_async_callback(supervisor.close)
            tracing = open_tracing(self._settings.traces_endpoint)
            stack.callback(tracing.close)
            services = Services(
                settings=self._settings,
                directory=self._directory,
                admission=Admission(self._settings, time.perf_counter),
                engine=supervisor,
                metrics=FrontMetrics(self._settings.labelled_tenants),
                pipelines=self._pipelines,
                now=time.perf_counter,
                tracing=tracing,
            )
            apps = [make_app(services), metrics_app(services)]
            servers = [
                _server(app, self._settings) for app, _ in zip(apps, listeners, strict=False)
            ]
            serving = [
                asyncio.create_task(server.serve([each]))
                for server, each in zip(servers, listeners, strict=True)
            ]
            starting = asyncio.create_task(supervisor.start())
            following = asyncio.create_task(self._follow(supervisor))
            try:
                await self._until_told(starting, serving)
                if not self._told_twice.is_set():
                    await self._drain(servers, supervisor)
            finally:
                for task in (starting, following):
                    task.cancel()
                for server in servers:
                    server.should_exit = True
                    server.force_exit = self._told_twice.is_set()
                await asyncio.gather(*serving, starting, following, return_exceptions=True)
            if not starting.cancelled() and starting.exception() is not None:
                await starting

    async def _until_told(
        self, starting: asyncio.Task[None], serving: Sequence[asyncio.Task[None]]
    ) -> None:
        """Returns when the server is to end, and when the engine cannot start or HTTP broke."""
        told = asyncio.create_task(self._told_to_end.wait())
        try:
            await asyncio.wait({told, starting, *serving}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and starting.exception() is not None:
                return
            await asyncio.wait({told, *serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()

    async def _follow(self, engine: EngineSupervisor) -> None:
        """What others change in the store holds here within about a second."""
        directory = self._directory
        content = ContentFolder(self._settings.data_directory)
        follower = EngineFollower(directory, engine, content)
        while True:
            await asyncio.sleep(_FOLLOW_SECONDS)
            try:
                await follower.follow()
                if not directory.keys_required and follows_first_key(self._settings):
                    directory.keys_required = directory.has_keys
            except Exception:
                _LOGGER.exception("a change of the store could not be followed")

    async def _drain(self, servers: Sequence[uvicorn.Server], engine: EngineSupervisor) -> None:
        """Nothing new is taken; what runs has its time."""
        _LOGGER.info("the server drains")
        for server in servers:
            for listener in getattr(server, "servers", ()):
                listener.close()
        draining = asyncio.create_task(engine.drain(self._settings.drain_seconds))
        told = asyncio.create_task(self._told_twice.wait())
        await asyncio.wait({draining, told}, return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, told):
            task.cancel()
        await asyncio.gather(draining, told, return_exceptions=True)

    def _end(self) -> None:
        if self._told_to_end.is_set():
            self._told_twice.set()
        self._told_to_end.set()

    def _known(self) -> EngineConfiguration:
        """All that a new engine process is to know."""
        directory = self._directory
        return EngineConfiguration(
            models=directory.models,
            tenants=directory.tenants(),
            adapters=directory.items("adapter"),
            programs=directory.items("program"),
            drafts=directory.items("draft"),
        )


class _Server(uvicorn.Server):
    """Signals are the front's own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn."""
        yield


def _server(app: Starlette, settings: Settings) -> uvicorn.Server:
    http, web_socket = bounded_protocols(settings)
    config = uvicorn.Config(
        app,
        http=http,
        ws=web_socket,
        ws_max_size=settings.max_body_bytes,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=math.ceil(settings.keep_alive_seconds),
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    return _Server(config)


def _greet(
    settings: Settings,
    models: Sequence[Model],
    listener: socket.socket,
    required: bool,
    out: TextIO,
) -> None:
    """The address, and something to try."""
    address = shown_address(settings.host, listener.getsockname()[1])
    names = ", ".join(model.name for model in models)
    key = " -H 'Authorization: Bearer KEY'" if required else ""
    message = {"role": "user", "content": _QUESTION}
    body = json.dumps({"model": models[0].name, "temperature": 0, "messages": [message]})
    print(f"Realm listens at http://{address} and serves {names}", file=out)
    print(
        f"  curl http://{address}/v1/chat/completions{key} "
        f"-H 'Content-Type: application/json' -d '{body}'",
        file=out,
    )


def _make_folders(settings: Settings) -> None:
    """Uploads that an earlier process left half done are removed."""
    try:
        settings.data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        text = f"data_directory: {settings.data_directory} cannot be made: {error.strerror}"
        raise ConfigError(text) from error
    shutil.rmtree(settings.data_directory / UPLOADS_FOLDER, ignore_errors=True)


def _configure_process(settings: Settings) -> None:
    """Its logs; as many open files as the connections take, or as the machine allows."""
    gc.freeze()  # modules stay: looking through them takes tens of milliseconds
    configure_logging(settings.log_level, settings.log_format, with_content=settings.log_prompts)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # No line tells these, and each record would find them out.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + _SPARE_FILES
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
