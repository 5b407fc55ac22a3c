"""Settings from a file, the environment and flags: which one counts, and what is refused."""

from pathlib import Path

import pytest

from realm.errors import ConfigError
from realm.server.definitions import Limits
from realm.server.settings import ModelSetting, load_settings, model_setting

EXAMPLE = Path(__file__).parents[2] / "examples" / "realm.toml"


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_it_serves_the_small_model_on_this_machine_alone(tmp_path):
    settings = load_settings(None, {"REALM_HOME": str(tmp_path)}, {})
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.models == (ModelSetting("smollm2"),)
    assert settings.data_directory == tmp_path / "server"
    assert settings.database_url == f"sqlite:///{tmp_path / 'server' / 'realm.db'}"
    assert settings.keys_required is None


def test_flags_are_stronger_than_the_environment_and_that_than_the_file(tmp_path):
    path = _file(tmp_path, 'host = "::1"\nport = 1\nmax_requests = 1\ndraft_k = 1\n')
    environment = {"REALM_SERVER_PORT": "2", "REALM_SERVER_MAX_REQUESTS": "2"}
    settings = load_settings(path, environment, {"max_requests": 3, "port": None})
    found = (settings.host, settings.port, settings.max_requests, settings.draft_k)
    assert found == ("::1", 2, 3, 1)


def test_the_usual_file_is_read_when_it_is_there(tmp_path):
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "realm.toml").write_text("port = 77\n")
    assert load_settings(None, {"REALM_HOME": str(tmp_path)}, {}).port == 77
    other = _file(tmp_path, "port = 78\n")
    environment = {"REALM_HOME": str(tmp_path), "REALM_SERVER_CONFIG": str(other)}
    assert load_settings(None, environment, {}).port == 78


def test_models_of_all_three_places(tmp_path):
    path = _file(
        tmp_path,
        '[[models]]\nname = "a"\nsource = "path:/m/a.gguf"\ndraft = ""\n[[models]]\nname = "b"\n',
    )
    assert load_settings(path, {}, {}).models == (
        ModelSetting("a", "path:/m/a.gguf", ""),
        ModelSetting("b"),
    )
    environment = {"REALM_SERVER_MODELS": "one=/m/1.gguf, smollm2"}
    assert load_settings(path, environment, {}).models == (
        ModelSetting("one", "/m/1.gguf"),
        ModelSetting("smollm2", "smollm2"),
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/m/some model.Q4.gguf", "some-model.Q4"),
        ("hf:owner/repo/file.gguf@main", "file"),
        ("./x.gguf", "x"),
        ("x.gguf", "x"),
    ],
)
def test_a_file_without_a_name_gives_one(text, name):
    assert model_setting(text, "--model") == ModelSetting(name, text)


def test_limits_of_the_file_and_of_the_environment(tmp_path):
    path = _file(tmp_path, "[limits]\nmax_tokens = 5\nwall_seconds = 2.5\n")
    assert load_settings(path, {}, {}).limits == Limits(max_tokens=5, wall_seconds=2.5)
    environment = {"REALM_SERVER_LIMITS_REQUESTS_PER_MINUTE": "60"}
    assert load_settings(None, environment, {}).limits == Limits(requests_per_minute=60)


def test_paths_are_made_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings(None, {"REALM_SERVER_DATA_DIRECTORY": "~/data"}, {})
    assert settings.data_directory == tmp_path / "data"
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, {}, {"data_directory": Path("x/../y")})
    assert settings.data_directory == tmp_path / "y"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 3", "no setting is called 'prot'; did you mean 'port'"),
        ('port = "8000"', "port: Expected `int`, got `str`"),
        ("port = 65536", "port: Expected `int` <= 65535"),
        ("port = -1", "port: Expected `int` >= 0"),
        ("port = true", "port: Expected `int`, got `bool`"),
        ("host = 1", "host: Expected `str`, got `int`"),
        ('host = ""', "host: Expected `str` of length >= 1"),
        ("keys_required = 1", "keys_required: Expected `bool | null`, got `int`"),
        ("header_seconds = 0", "header_seconds: Expected `float` > 0"),
        ("header_seconds = nan", "header_seconds"),
        ("drain_seconds = inf", "drain_seconds"),
        ('data_directory = ""', "data_directory: Expected `path`"),
        ('log_level = "loud"', "log_level: Invalid enum value 'loud'"),
        ("models = []", "models: there must be at least one"),
        ("models = 3", "models: Expected `array`"),
        ('[[models]]\nname = "a:b"', r"models\[0\].name: Expected `str` matching"),
        ('[[models]]\nsource = "a"', r"models\[0\]: Object missing required field `name`"),
        ('[[models]]\nname = "a"\n[[models]]\nname = "a"', "models: two are called 'a'"),
        ('[[models]]\nname = "a"\nfile = "x"', r"models\[0\]: .*unknown field `file`"),
        ("[limits]\nmax_tokens = 0", "limits.max_tokens: Expected `int` >= 1"),
        ("[limits]\ntokens = 1", "limits: Object contains unknown field `tokens`"),
        ("port = ", "not TOML"),
        ("port = 1\nport = 2", "not TOML"),
    ],
)
def test_what_the_file_may_not_say(tmp_path, text, message):
    path = _file(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as refused:
        load_settings(path, {}, {})
    if "at least one" not in message and "two are" not in message:
        assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PROT", "1", "REALM_SERVER_PROT: no setting is called 'prot'"),
        ("PORT", "x", "REALM_SERVER_PORT: port: Expected `int`"),
        ("PORT", "", "REALM_SERVER_PORT: port"),
        ("LIMITS", "1", "no setting is called 'limits'"),
        ("LIMITS_MAX_TOKENS", "x", "limits.max_tokens: Expected `int"),
        ("LIMITS_TOKENS", "1", "unknown field `tokens`"),
        ("MODELS", "a=/x,,", "REALM_SERVER_MODELS: models.name"),
        ("MODELS", "a b=/x", "REALM_SERVER_MODELS: models.name"),
    ],
)
def test_what_the_environment_may_not_say(name, value, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(None, {f"REALM_SERVER_{name}": value}, {})


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.toml: cannot be read"):
        load_settings(tmp_path / "nothing.toml", {}, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path, {}, {})
    path = tmp_path / "bytes.toml"
    path.write_bytes(b'host = "\xff"')
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(path, {}, {})


def test_a_value_of_a_database_address_is_never_told():
    with pytest.raises(ConfigError) as refused:
        load_settings(None, {"REALM_SERVER_DATABASE_URL": "x" * 5000 + "secret"}, {})
    assert "secret" not in str(refused.value)


def test_the_example_is_a_configuration_with_every_setting_in_it():
    text = EXAMPLE.read_text(encoding="utf-8")
    settings = load_settings(EXAMPLE, {}, {})
    assert settings.models[0].name == "smollm2"
    for name in settings.__struct_fields__:
        assert name in text
