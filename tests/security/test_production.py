"""The set-up for production: its settings are settings, its rules say what they mean, its units give little away."""

from pathlib import Path

import pytest

from lrc.settings import LrcSettings
from reploc import config, service
from reploc.actions import Action
from reploc.security.identity import NOBODY, Identity
from reploc.security.rules import Rules
from reploc.service import DaemonSettings
from rli.settings import RliSettings

FOLDER = Path(__file__).parents[2] / "configs" / "production"
HOSTS = "/DC=org/DC=example/OU=hosts/CN="
PEOPLE = "/DC=org/DC=example/OU=people/CN="
CA = "/DC=org/DC=example/CN=Example Grid CA"
ISSUER = "https://auth.example.org/"


@pytest.mark.parametrize(("name", "kind"), [("lrc", LrcSettings), ("rli", RliSettings)])
def test_the_settings_listen_beyond_loopback_because_they_are_guarded(name: str, kind: type[DaemonSettings]) -> None:
    settings = config.load(kind, FOLDER / f"{name}.toml")
    assert settings.guarded
    assert not settings.insecure
    assert service.address(settings.listen, insecure=settings.guarded)[0] == "0.0.0.0"
    assert settings.audit.file
    assert settings.tls.crls


@pytest.mark.parametrize(
    ("who", "action", "name", "allowed"),
    [
        (Identity("certificate", HOSTS + "lrc.a.example.org"), Action.SEND_SOFT_STATE, "site-a", True),
        (Identity("certificate", HOSTS + "lrc.a.example.org"), Action.SEND_SOFT_STATE, "site-b", False),
        (Identity("certificate", HOSTS + "rli-1.example.org"), Action.READ_CATALOG, "/store/a", True),
        (Identity("certificate", HOSTS + "rli-3.example.org"), Action.READ_CATALOG, "/store/a", False),
        (Identity("certificate", PEOPLE + "Jane", CA), Action.READ_INDEX, "/user/a", True),
        (Identity("certificate", PEOPLE + "Jane", "/O=Other CA"), Action.READ_INDEX, "/user/a", False),
        (Identity("certificate", PEOPLE + "Left Us", CA), Action.READ_INDEX, "/a", False),
        (Identity("token", "x", ISSUER, ("/example/production",)), Action.WRITE_CATALOG, "/store/", True),
        (Identity("token", "x", ISSUER), Action.READ_CATALOG, "/store/a", False),
        (NOBODY, Action.READ_INDEX, "/store/a", False),
    ],
)  # fmt: skip
def test_the_rules_say_what_they_mean(who: Identity, action: Action, name: str, allowed: bool) -> None:
    rules = config.load(Rules, FOLDER / "rules.toml")
    assert rules.rights(who).decide(action, [name]).allowed == allowed


@pytest.mark.parametrize("name", ["lrc", "rli"])
def test_a_unit_has_no_privileges_and_sees_little(name: str) -> None:
    unit = (FOLDER / f"reploc-{name}.service").read_text().splitlines()
    for line in (
        "User=reploc", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "ProtectHome=yes",
        "PrivateDevices=yes", "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "SystemCallFilter=@system-service",
        f"ExecStart=/opt/reploc/bin/reploc {name} serve --config /etc/reploc/{name}.toml",
    ):  # fmt: skip
        assert line in unit
