"""The set-up for production: its settings are settings, its rules say what they mean, its units give little away."""

import tomllib
from pathlib import Path

import pytest

from consistency.report import STATUS
from consistency.settings import ConsistencySettings
from fileops.settings import FileopsSettings
from lrc.settings import LrcSettings
from placement.settings import PlacementSettings
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
KINDS: dict[str, type[DaemonSettings]] = {
    "lrc": LrcSettings,
    "rli": RliSettings,
    "placement": PlacementSettings,
    "fileops": FileopsSettings,
}
ISSUER = "https://auth.example.org/"


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
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
        (Identity("certificate", HOSTS + "checker.example.org"), Action.WRITE_CATALOG, "/store/a", True),
        (Identity("certificate", HOSTS + "checker.example.org"), Action.PLACE, "/store/a", False),
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


def test_every_daemon_has_settings_and_a_unit() -> None:
    assert set(KINDS) == {path.parent.name for path in FOLDER.parents[1].glob("*/server.py")}


@pytest.mark.parametrize("name", KINDS)
def test_a_unit_has_no_privileges_and_sees_little(name: str) -> None:
    unit = (FOLDER / f"reploc-{name}.service").read_text().splitlines()
    for line in (
        "User=reploc", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "ProtectHome=yes",
        "PrivateDevices=yes", "Type=notify", "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "SystemCallFilter=@system-service",
        f"ExecStart=/opt/reploc/bin/reploc {name} serve --config /etc/reploc/{name}.toml",
    ):  # fmt: skip
        assert line in unit
    state = config.load(KINDS[name], FOLDER / f"{name}.toml")
    kept = [str(getattr(state, key)) for key in ("store", "database", "journal") if hasattr(state, key)]
    assert all(f"/var/lib/reploc/{name}" in path for path in kept)
    assert bool(kept) == (f"StateDirectory=reploc/{name}" in unit)


def test_the_checker_runs_once_a_day_with_no_more_than_a_daemon_may() -> None:
    unit, timer = ((FOLDER / f"reploc-consistency@.{kind}").read_text().splitlines() for kind in ("service", "timer"))
    settings = ConsistencySettings()
    assert "ExecStart=/opt/reploc/bin/reploc consistency check %i --config /etc/reploc/consistency.toml" in unit
    assert {"Type=oneshot", f"SuccessExitStatus={STATUS['held']}", "StateDirectory=reploc"} <= set(unit)
    assert settings.state.startswith("/var/lib/reploc/")
    guards = (FOLDER / "reploc-fileops.service").read_text().partition("NoNewPrivileges")[2].partition("[Install]")[0]
    assert guards in "\n".join(unit) + "\n\n"
    hours = next(int(line.removesuffix("h").rpartition("=")[2]) for line in timer if line.startswith("OnUnitActive"))
    assert hours * 3600 > settings.confirmation.min_run_spacing_s


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def test_the_image_runs_what_the_units_run_on_their_ports_and_not_as_root() -> None:
    """No container is made here: its steps are read, and what they name is looked up."""
    lines = (FOLDER / "Containerfile").read_text().splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and line[0] not in "# "]
    told = dict(steps)
    ports = sorted(int(service.address(kind().listen, insecure=False)[1]) for kind in KINDS.values())
    assert [int(port) for port in told["EXPOSE"].split()] == ports
    assert told["USER"] == "reploc"
    assert [step for step, _ in steps].index("USER") > [step for step, _ in steps].index("RUN")
    assert told["ENTRYPOINT"] == '["/opt/reploc/bin/reploc"]'
    images = [rest.split()[0] for step, rest in steps if step == "FROM"]
    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["project"]
    least = project["requires-python"].removeprefix(">=")
    for image in images:
        assert image.startswith("docker.io/library/python:")
        assert numbers(image.rpartition(":")[2].removesuffix("-slim")) >= numbers(least)
    assert project["scripts"]["reploc"]
    assert not {"ADD", "VOLUME", "HEALTHCHECK"} & told.keys()
