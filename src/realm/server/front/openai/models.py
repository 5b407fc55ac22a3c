"""GET /v1/models and GET /v1/models/{name}: what the tenant may name as `model`."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from realm.server.front.identity import Identity
from realm.server.front.openai.answers import ModelCard, ModelList, json_response
from realm.server.front.services import Services


class ModelHandlers:
    """Handlers of the two routes. Models count as created when the server started."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._created = int(time.time())

    async def all(self, request: Request, identity: Identity) -> Response:
        """The models, and each with each adapter as `model:adapter`."""
        del request
        assert identity.tenant is not None
        names = self._services.directory.model_names(identity.tenant)
        return json_response(ModelList("list", [self._card(name) for name in names]))

    async def one(self, request: Request, identity: Identity) -> Response:
        """Raises ModelNotFoundError and AdapterNotFoundError."""
        assert identity.tenant is not None
        name: str = request.path_params["name"]
        self._services.directory.resolve_model(identity.tenant, name)
        return json_response(self._card(name))

    def _card(self, name: str) -> ModelCard:
        return ModelCard(name, "model", self._created, "realm")
