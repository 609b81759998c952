"""`reploc ca`, `reploc auth` and `reploc whoami`, as people call them."""

import asyncio
import json
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from parties import Parties, catalog

from reploc.cli import cli
from reploc.pki import Authority


def run(*words: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner(env=env).invoke(cli, list(words))


def verified(ca: Path, name: str, *options: str) -> bool:
    """What OpenSSL itself thinks of a certificate."""
    command = ["openssl", "verify", "-CAfile", str(ca / "ca.pem"), *options, str(ca / f"{name}.pem")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_an_authority_issues_what_openssl_accepts_and_takes_it_back(tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    assert run("ca", "init", str(ca), "--name", "A Grid").exit_code == 0
    assert run("ca", "issue", "site", str(ca), "site-a", "--host", "127.0.0.1", "--host", "lrc.test").exit_code == 0
    assert run("ca", "issue", "host", str(ca), "rli.test", "--node", "rli-1").exit_code == 0
    assert run("ca", "issue", "person", str(ca), "jane").exit_code == 0
    assert verified(ca, "site-a", "-purpose", "sslserver", "-verify_ip", "127.0.0.1", "-x509_strict")
    assert verified(ca, "rli.test", "-purpose", "sslserver", "-verify_hostname", "rli.test")
    assert verified(ca, "jane", "-purpose", "sslclient")
    assert not verified(ca, "jane", "-purpose", "sslserver")
    checked = ("-crl_check_all", "-CRLfile", str(ca / "crl.pem"))
    assert verified(ca, "jane", *checked)
    assert run("ca", "revoke", str(ca), "jane").exit_code == 0
    assert not verified(ca, "jane", *checked)
    assert verified(ca, "site-a", *checked)
    assert [line.what for line in Authority(ca).issued()] == ["issued", "issued", "issued", "revoked"]
    assert run("ca", "crl", str(ca), "--days", "3").exit_code == 0


def test_keys_are_their_owners_alone(tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    run("ca", "init", str(ca))
    run("ca", "issue", "person", str(ca), "jane")
    assert stat.S_IMODE(ca.stat().st_mode) == 0o700
    for key in ("ca.key", "jane.key"):
        assert stat.S_IMODE((ca / key).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["init"], "holds an authority already"),
        (["issue", "person", "../jane"], "is no name for a certificate"),
        (["issue", "person", "ca"], "is no name for a certificate"),
        (["issue", "site", "a b", "--host", "x"], "is not a site name"),
        (["revoke", "nobody"], "no certificate of 'nobody'"),
    ],
)
def test_what_an_authority_cannot_do_changes_nothing(tmp_path: Path, words: list[str], said: str) -> None:
    ca = tmp_path / "ca"
    Authority.init(ca, "x")
    before = {path: path.read_bytes() for path in ca.iterdir()}
    at = 2 if words[0] == "issue" else 1
    result = run("ca", *words[:at], str(ca), *words[at:])
    assert (result.exit_code, said in result.output) == (2, True), result.output
    assert {path: path.read_bytes() for path in ca.iterdir()} == before
    assert run("ca", "crl", str(tmp_path / "elsewhere")).exit_code == 2


def test_explain_says_what_is_decided_and_by_which_rule(parties: Parties) -> None:
    rules = str(parties.directory / "rules.toml")
    jane = "/O=reploc/OU=people/CN=writer"
    result = run("auth", "explain", jane, "write-catalog", "/store/a", "--rules", rules)
    assert (result.exit_code, result.output.splitlines()[0]) == (0, "allowed: rule 2 gives role 'writer'")
    result = run("auth", "explain", jane, "write-catalog", "/user/a", "--rules", rules)
    assert (result.exit_code, "and not on '/user/a'" in result.output) == (1, True)
    result = run("auth", "explain", "joe", "write-catalog", "--group", "/cms/production", "--rules", rules, "--json")
    assert (result.exit_code, json.loads(result.output)["allowed"]) == (0, True)
    assert run("auth", "explain", "nobody", "monitor", "--rules", rules).exit_code == 1
    assert run("auth", "explain", "nobody", "public", "--rules", rules).exit_code == 0


def test_import_prints_rules_that_explain_understands(tmp_path: Path) -> None:
    gridmap, acl, rules = tmp_path / "grid-mapfile", tmp_path / "conf", tmp_path / "rules.toml"
    gridmap.write_text('"/DC=org/CN=Jane" jdoe\n')
    acl.write_text("acl ^jdoe$: lrc_update\n")
    printed = run("auth", "import", "--gridmap", str(gridmap), "--acl", str(acl))
    rules.write_text(printed.output)
    assert run("auth", "explain", "/DC=org/CN=Jane", "write-catalog", "--rules", str(rules)).exit_code == 0
    assert run("auth", "explain", "/DC=org/CN=Joe", "write-catalog", "--rules", str(rules)).exit_code == 1
    assert run("auth", "import").exit_code == 2
    gridmap.write_text("nonsense\n")
    assert run("auth", "import", "--gridmap", str(gridmap)).exit_code == 2


async def test_whoami_shows_what_grid_tools_variables_name(parties: Parties, tmp_path: Path) -> None:
    variables = {
        "HOME": str(tmp_path),
        "X509_USER_CERT": parties.path("writer.pem"),
        "X509_USER_KEY": parties.path("writer.key"),
    }
    async with catalog(tmp_path, **parties.guarded()) as (url, _):
        (tmp_path / ".config").mkdir()
        settings = tmp_path / ".config" / "reploc.toml"
        settings.write_text(f'[tls]\nauthorities = "{parties.path("ca.pem")}"\n')
        result = await asyncio.to_thread(run, "whoami", "--lrc", url, env=variables)
        assert result.exit_code == 0, result.output
        assert "certificate /O=reploc/OU=people/CN=writer\twrite-catalog\t/store/" in result.output
        (tmp_path / "token").write_text(parties.token(sub="job") + "\n")
        variables |= {"X509_USER_CERT": "", "BEARER_TOKEN_FILE": str(tmp_path / "token")}
        result = await asyncio.to_thread(run, "whoami", "--url", url, "--json", env=variables)
        assert json.loads(result.output)["said"]["subject"] == "job"
