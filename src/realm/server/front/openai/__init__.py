"""The HTTP surface that OpenAI's clients speak."""

from __future__ import annotations

from importlib.metadata import version

from starlette.routing import BaseRoute

from realm.server.front.access import tenant_route
from realm.server.front.openai.completions import CHAT_PATH, COMPLETION_PATH, CompletionHandlers
from realm.server.front.openai.embeddings import EMBEDDING_PATH, EmbeddingHandlers
from realm.server.front.openai.models import ModelHandlers
from realm.server.front.services import Services


def routes(services: Services) -> list[BaseRoute]:
    """`/v1/...`, for keys of tenants."""
    completions = CompletionHandlers(services, version("realm"))
    models = ModelHandlers(services)
    embeddings = EmbeddingHandlers(services)
    post = ("POST",)
    return [
        tenant_route(CHAT_PATH, completions.chat, services=services, methods=post),
        tenant_route(COMPLETION_PATH, completions.completion, services=services, methods=post),
        tenant_route(EMBEDDING_PATH, embeddings.embed, services=services, methods=post),
        tenant_route("/v1/models", models.all, services=services),
        tenant_route("/v1/models/{name}", models.one, services=services),
    ]
