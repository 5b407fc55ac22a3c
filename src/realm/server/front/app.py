"""The ASGI application: all routes, and what stands around them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from realm.errors import RealmError
from realm.server.front import admin, health, metrics_routes, openai, pipelines_routes, websocket
from realm.server.front.body_limit import BodyLimit
from realm.server.front.failures import error_response
from realm.server.front.openapi import openapi_route
from realm.server.front.page import routes as page
from realm.server.front.request_id import RequestContext
from realm.server.front.services import Services
from realm.server.front.tracing import TracingMiddleware


def make_app(services: Services) -> Starlette:
    """The whole server's. The caller has started all services."""
    return app_of(
        services,
        [
            *health.routes(services),
            *openai.routes(services),
            *metrics_routes.routes(services),
            *page.routes(services),
            *pipelines_routes.routes(services),
            *websocket.routes(services),
            *admin.routes(services),
        ],
    )


def app_of(services: Services, routes: Sequence[BaseRoute]) -> Starlette:
    """An application of these routes and their description."""
    app = Starlette(
        routes=[*routes, openapi_route(routes, version("realm"))],
        middleware=[
            Middleware(RequestContext, services.metrics, services.now),
            *([Middleware(TracingMiddleware, services.tracing)] if services.tracing.is_on else []),
            Middleware(
                BodyLimit,
                services.settings.max_body_bytes,
                services.settings.max_tenant_body_bytes,
            ),
        ],
        exception_handlers={
            RealmError: _answer,
            HTTPException: _answer,
            ClientDisconnect: _answer,
        },
    )
    # A path with a slash too many is not there; a redirect would lose the body of a POST.
    app.router.redirect_slashes = False
    return app


async def _answer(connection: HTTPConnection, error: Exception) -> Response:
    # A WebSocket's endpoint answers its own errors; here are those of routes that are not there.
    assert isinstance(connection, Request)
    return error_response(error)
