"""What can be set of the server: one TOML file, the environment, flags; the later wins.

A key that nothing is called and a value of another type are ConfigErrors that name where they
stand. Nothing here looks a model up or opens anything but the file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import URL

from realm.config import CachePrecision
from realm.errors import ConfigError
from realm.server.definitions import ItemName, Limits

ENVIRONMENT_PREFIX = "REALM_SERVER_"
CONFIG_VARIABLE = "REALM_SERVER_CONFIG"

_Bytes = Annotated[int, msgspec.Meta(ge=1, le=1 << 50)]
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
_Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
Name = ItemName


class ModelSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model to serve. source: a well-known name, a catalog reference or a path; the name when
    left out. draft: the same of a model that drafts for it; "" for none, None for the one that
    Realm brings along."""

    name: Name
    source: _Text = ""
    draft: str | None = None


DEFAULT_MODELS = (ModelSetting("smollm2"),)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of the TOML file have these names, as have flags (with dashes) and the environment
    (REALM_SERVER_ and the name in capitals).

    host, port: to listen on; port 0 takes a free one. keys_required: None asks for keys unless the
    address is this machine's own and no key exists. data_directory: of uploads, the engine's state
    and, without a database_url, the database.

    max_body_bytes: of a JSON body. max_tenant_body_bytes: of all that a tenant's requests have sent
    and that were not answered yet. max_upload_bytes: of an adapter, program or draft.
    max_tenant_upload_bytes: of all that a tenant uploads itself, together.
    max_header_bytes: of a request's line and headers. max_connections: at once.
    max_requests: generations of all tenants at once. header_seconds: until a client has sent its
    headers, between parts of its body, and until it reads on. keep_alive_seconds: of a connection
    without a request. drain_seconds: how long running requests have when the server is told to end.
    metrics_port: where /metrics also answers without a key, on metrics_host. labelled_tenants: how
    many tenants have a label of their own there; the rest share one. traces_endpoint: where
    OpenTelemetry's spans go (OTLP over HTTP); needs the extra `tracing`.

    limits: of tenants that have none of their own.
    threads, cache_bytes, cache_precision, adapter_bytes, context_length, draft_k: of EngineConfig.
    """

    host: _Text = "127.0.0.1"
    port: _Port = 8000
    models: tuple[ModelSetting, ...] = DEFAULT_MODELS
    models_directory: Path | None = None
    data_directory: Path
    database_url: _Text
    keys_required: bool | None = None
    pipelines_directory: Path | None = None

    max_body_bytes: _Bytes = 8 << 20
    max_tenant_body_bytes: _Bytes = 128 << 20
    max_upload_bytes: _Bytes = 2 << 30
    max_tenant_upload_bytes: _Bytes = 8 << 30
    max_header_bytes: _Bytes = 64 << 10
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 4096
    max_requests: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)] = 256
    header_seconds: _Seconds = 20.0
    keep_alive_seconds: _Seconds = 30.0
    drain_seconds: _Seconds = 30.0
    metrics_host: _Text = "127.0.0.1"
    metrics_port: _Port | None = None
    labelled_tenants: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    traces_endpoint: _Text | None = None

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    log_prompts: bool = False

    limits: Limits = Limits()

    threads: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0
    cache_bytes: _Bytes = 2 << 30
    cache_precision: CachePrecision = "float16"
    adapter_bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 50)] = 1 << 30
    context_length: Annotated[int, msgspec.Meta(ge=0, le=1 << 24)] = 0
    draft_k: Annotated[int, msgspec.Meta(ge=0, le=256)] = 15


FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}


def default_data_directory(environment: Mapping[str, str]) -> Path:
    """`$REALM_HOME/server`, or `~/.cache/realm/server` where REALM_HOME is not set."""
    home = environment.get("REALM_HOME")
    return (Path(home) if home else Path("~/.cache/realm").expanduser()) / "server"


def load_settings(
    file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]
) -> Settings:
    """The settings in force. Raises ConfigError.

    file: None takes the one that REALM_SERVER_CONFIG names, or `realm.toml` in the default data
    directory when it is there. flags: by the names of settings; None where one was not given.
    """
    values: dict[str, Any] = {}
    path = _file_to_read(file, environment)
    if path is not None:
        values.update(_from_file(path))
    values.update(_from_environment(environment))
    for key, value in flags.items():
        if value is not None:
            values[key] = _converted(key, value, f"--{key.replace('_', '-')}", strict=True)
    values.setdefault("data_directory", default_data_directory(environment))
    directory = Path(os.path.abspath(values["data_directory"].expanduser()))  # noqa: PTH100
    values["data_directory"] = directory
    if "database_url" not in values:
        url = URL.create("sqlite", database=str(directory / "realm.db"))
        values["database_url"] = url.render_as_string(hide_password=False)
    settings = Settings(**values)
    _check_models(settings.models)
    return settings


def _file_to_read(file: Path | None, environment: Mapping[str, str]) -> Path | None:
    if file is not None:
        return file
    if environment.get(CONFIG_VARIABLE):
        return Path(environment[CONFIG_VARIABLE])
    usual = default_data_directory(environment) / "realm.toml"
    return usual if usual.exists() else None


def _from_file(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    for key, value in document.items():
        if key not in FIELDS:
            raise ConfigError(f"{path}: no setting is called {key!r}{_nearest(key)}")
        yield key, _converted(key, value, str(path), strict=True)


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    limits: dict[str, str] = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == CONFIG_VARIABLE:
            continue
        key = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if key.startswith("limits_"):
            limits[key.removeprefix("limits_")] = text
        elif key not in FIELDS or key == "limits":
            raise ConfigError(f"{variable}: no setting is called {key!r}{_nearest(key)}")
        elif key == "models":
            yield key, tuple(model_setting(part, variable) for part in text.split(","))
        else:
            yield key, _converted(key, text, variable, strict=False)
    if limits:
        source = f"{ENVIRONMENT_PREFIX}LIMITS_*"
        yield "limits", _converted("limits", limits, source, strict=False)


def model_setting(text: str, where: str) -> ModelSetting:
    """Of `NAME=SOURCE`, a well-known name, or a path or reference by itself, which then is called
    as its file. where: for the ConfigError."""
    name, equals, source = (part.strip() for part in text.partition("="))
    if not equals:
        source = name
        if "/" in name or name.endswith(".gguf"):
            file_name = name.rpartition("/")[2].partition("@")[0].removesuffix(".gguf")
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", file_name)
    value = {"name": name, "source": source}
    return _convert(value, ModelSetting, "models", where, strict=True)  # type: ignore[no-any-return]


def _converted(key: str, value: Any, where: str, *, strict: bool) -> Any:
    if key not in FIELDS:
        raise ConfigError(f"{where}: no setting is called {key!r}")
    return _convert(value, FIELDS[key].type, key, where, strict=strict)


def _convert(value: Any, kind: Any, key: str, where: str, *, strict: bool) -> Any:
    try:
        return msgspec.convert(value, kind, strict=strict, dec_hook=_decode)
    except msgspec.ValidationError as error:
        # The error's own place begins with "$", which stands for the key.
        reason, _, place = str(error).partition(" - at `$")
        raise ConfigError(f"{where}: {key}{place.rstrip('`')}: {reason}") from None


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(value).expanduser()
    raise ValueError(f"Expected `path`, got `{type(value).__name__}`")


def _check_models(models: tuple[ModelSetting, ...]) -> None:
    if not models:
        raise ConfigError("models: there must be at least one")
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"models: two are called {name!r}")


def _nearest(key: str) -> str:
    """A hint: the setting that was probably meant."""
    import difflib  # noqa: PLC0415  only to tell an error

    found = difflib.get_close_matches(key, FIELDS, 1)
    return f"; did you mean {found[0]!r}?" if found else ""
