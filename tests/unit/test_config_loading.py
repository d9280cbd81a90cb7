"""Where settings come from, in which order, and what is said of those that are wrong."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from moorage.config.loading import BadSettings, load, paths, variable
from moorage.config.settings import Settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No moorage.toml of the developer's is read."""
    monkeypatch.chdir(tmp_path)


def refusal(environment: Mapping[str, str], file: Path | None = None) -> str:
    """What is said of settings that cannot be used."""
    with pytest.raises(BadSettings) as caught:
        load(environment, file)
    return str(caught.value)


def test_nothing_has_to_be_set() -> None:
    """A trial is safe: nobody else can connect."""
    settings = load({})
    assert settings == Settings()
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8080)
    assert settings.http.relative_locations
    assert settings.gc.enabled


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    """Key by key: what only the file says stays."""
    (tmp_path / "moorage.toml").write_text(
        '[http]\nhost = "10.0.0.1"\nport = 1\n[database]\npassword = "file"\nhost = "db"\n'
    )
    (tmp_path / "secret").write_text("mounted\n")
    settings = load(
        {
            "MOORAGE_HTTP__PORT": "2",
            "MOORAGE_DATABASE__PASSWORD": "environment",
            "MOORAGE_DATABASE__PASSWORD_FILE": str(tmp_path / "secret"),
            "PATH": "/bin",
        }
    )
    assert (settings.http.host, settings.http.port) == ("10.0.0.1", 2)
    assert settings.database.host == "db"
    assert settings.database.password == SecretStr("mounted")


def test_the_file_can_be_named(tmp_path: Path) -> None:
    """By option, else by environment, else it is here or not at all."""
    for name, port in (("a.toml", 1), ("b.toml", 2), ("moorage.toml", 3)):
        (tmp_path / name).write_text(f"[http]\nport = {port}\n")
    named = {"MOORAGE_CONFIG": str(tmp_path / "b.toml")}
    assert load(named, tmp_path / "a.toml").http.port == 1
    assert load(named).http.port == 2
    assert load({}).http.port == 3
    assert "no.toml" in refusal({}, tmp_path / "no.toml")
    assert "no.toml" in refusal({"MOORAGE_CONFIG": "no.toml"})


def test_a_folder_that_is_closed_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root's own is to a service that root starts from there; a file that is named is missed."""

    def closed(*_: object, **__: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", closed)  # root may look into any folder
    assert load({}) == Settings()
    assert "no/such.toml" in refusal({}, Path("no/such.toml"))


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    """The message has the file and the line."""
    (tmp_path / "moorage.toml").write_text("[http\n")
    assert "moorage.toml" in refusal({})
    assert "line 1" in refusal({})


def test_lists_are_json() -> None:
    """Everything else is taken as it is written."""
    settings = load(
        {
            "MOORAGE_HTTP__TRUSTED_PROXIES": '["10.0.0.0/8", "::1/128"]',
            "MOORAGE_HTTP__NOTICE": "{not json",
            "MOORAGE_GC__ENABLED": "false",
        }
    )
    assert [str(network) for network in settings.http.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert settings.http.notice == "{not json"
    assert not settings.gc.enabled


def test_short_names(tmp_path: Path) -> None:
    """What nearly everybody sets has a name without a section, and a file if wanted."""
    (tmp_path / "key").write_text("a key of sixteen or more\n")
    settings = load(
        {
            "MOORAGE_ADMIN_PASSWORD": "Pa55word-of-mine",
            "MOORAGE_SECRET_KEY_FILE": str(tmp_path / "key"),
        }
    )
    assert settings.auth.admin_password == SecretStr("Pa55word-of-mine")
    assert settings.auth.secret_key == SecretStr("a key of sixteen or more")
    assert "no such file" in refusal({"MOORAGE_SECRET_KEY_FILE": "nowhere"}).lower()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("MOORAGE_PORT", "unknown setting port (MOORAGE_PORT); did you mean http.port?"),
        ("MOORAGE_HTTP__PROT", "did you mean http.port?"),
        ("MOORAGE_HTP__PORT", "unknown setting htp (MOORAGE_HTP); did you mean http?"),
        ("MOORAGE_STORAGE__S3__BUKET", "did you mean storage.s3.bucket?"),
        ("MOORAGE_FAILPOINT", "did you mean MOORAGE_FAILPOINTS?"),
        ("MOORAGE_ADMIN_PASWORD", "did you mean MOORAGE_ADMIN_PASSWORD?"),
        ("MOORAGE_QQQQQQQQ", "unknown setting qqqqqqqq (MOORAGE_QQQQQQQQ)"),
        ("MOORAGE_HTTP", "http is a section: set its keys, such as http.host"),
        ("MOORAGE_HTTP__PORT__X", "http.port (MOORAGE_HTTP__PORT)"),
    ],
)
def test_what_does_not_exist_is_named(name: str, said: str) -> None:
    """With what was probably meant, and without the value."""
    message = refusal({name: "the-value"})
    assert said in message
    assert "the-value" not in message


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """From the file and the environment alike, one line each."""
    (tmp_path / "moorage.toml").write_text("[gc]\nlease_hours = 1\n[log]\nlevel = 'loud'\n")
    lines = refusal({"MOORAGE_HTTP__PORT": "99999", "MOORAGE_GC__BATCH": "nan"}).splitlines()
    assert len(lines) == 4
    assert {line.split()[0] for line in lines if not line.startswith("unknown")} == {
        "log.level",
        "http.port",
        "gc.batch",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOORAGE_AUTH__SECRET_KEY", "tooshort-canary"),
        ("MOORAGE_ADMIN_PASSWORD", "Harbor12345"),
        ("MOORAGE_DATABASE__URL", "mysql://root:canary@db/x"),
        ("MOORAGE_HTTP__EXTERNAL_URL", "ftp://canary"),
        ("MOORAGE_GC__LEASE_SECONDS", "inf"),
        ("MOORAGE_GC__LEASE_SECONDS", "-1"),
        ("MOORAGE_HTTP__TRUSTED_PROXIES", '["10.0.0.1/8"]'),
    ],
)
def test_values_that_cannot_be(name: str, value: str) -> None:
    """Refused with the setting's path; the value may be a secret and is not repeated."""
    message = refusal({name: value})
    assert variable(message.split()[0]).startswith("MOORAGE_")
    assert value not in message
    assert "canary" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOORAGE_PORT", "tcp://10.0.0.1:80"),
        ("MOORAGE_SERVICE_HOST", "10.0.0.1"),
        ("MOORAGE_SERVICE_PORT", "80"),
        ("MOORAGE_CORE_SERVICE_PORT_HTTP_WEB", "80"),
        ("MOORAGE_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("MOORAGE_REGISTRY_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
    ],
)
def test_what_kubernetes_sets_is_no_setting(name: str, value: str) -> None:
    """Every pod beside a Service called moorage gets these; they must not stop a start."""
    assert load({name: value}) == Settings()


def test_every_path_has_a_variable_of_its_own() -> None:
    """Two settings are never set by one variable."""
    found = list(paths())
    assert "storage.s3.bucket" in found
    assert "redis.url" in found
    assert len({variable(path) for path in found}) == len(found)


def test_harbors_own_variable_sets_what_its_api_could_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Numbers and switches also as texts; below our own variables; what is unknown is told of."""
    harbor = """{"oidc_name": "dex", "token_expiration": "45", "self_registration": "true",
        "oidc_extra_redirect_parms": "{\\"prompt\\": \\"login\\"}", "email_host": "canary"}"""
    found = load(
        {"CONFIG_OVERWRITE_JSON": harbor, "MOORAGE_CONFIGURATION__OIDC_NAME": "mine"}
    ).configuration
    assert (found.oidc_name, found.token_expiration) == ("mine", 45)
    assert found.self_registration
    assert found.oidc_extra_redirect_parms == '{"prompt": "login"}'
    assert "self_registration" in found.model_fields_set, "so it is read-only in the API"
    assert "email_host" in caplog.text
    assert "canary" not in caplog.text
    for wrong in ("{", "[]", "1"):
        assert "CONFIG_OVERWRITE_JSON" in refusal({"CONFIG_OVERWRITE_JSON": wrong})
    wrong = refusal({"CONFIG_OVERWRITE_JSON": '{"token_expiration": "canary"}'})
    assert "configuration.token_expiration" in wrong
    assert "canary" not in wrong


def test_a_text_may_look_like_json() -> None:
    """A banner of Harbor's is an object in a text, and a password may begin with a bracket."""
    banner = '{"message": "hello", "closable": true}'
    found = load(
        {
            "MOORAGE_CONFIGURATION__BANNER_MESSAGE": banner,
            "MOORAGE_CONFIGURATION__LDAP_SEARCH_PASSWORD": "[1]",
        }
    ).configuration
    assert found.banner_message == banner
    assert found.ldap_search_password.get_secret_value() == "[1]"
