"""Proxies in the environment: what is on this machine is reached directly, and a proxy that fails is named in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from hneurons.config import proxies
from hneurons.config.proxies import client_options, is_this_machine, network_errors, proxy_to, through_proxy
from hneurons.data.downloads import fetch_source
from hneurons.errors import HNeuronsError
from hneurons.judges.judge import Exchange
from tests.judge_server import JudgeServer, completion, llm_judge
from tests.paths import ROOT

REMOTE = "http://judge.example/v1"
YES = completion('{"verdict": "harmless"}')
UNUSABLE = [
    "socks://10.0.0.1:1080",
    "socks4://10.0.0.1:1080",
    "ftp://10.0.0.1",
    "http://",
    "http://host:port",
    "a b",
    "://",
]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *((host, True) for host in ("127.0.0.1", "127.8.8.8", "localhost", "LOCALHOST.", "[::1]", "0.0.0.0", "[::]")),
        *((host, True) for host in ("a.localhost", "[::ffff:127.0.0.1]", socket.gethostname())),
        *((host, False) for host in ("judge.example", "10.0.0.1", "localhost.example", "[2001:db8::1]", "127.example", "")),
    ],
)
def test_this_machine_is_recognised(host, local):
    assert is_this_machine(f"http://{host}:8000/v1") == local
    assert not is_this_machine("http://[broken/v1")


def test_the_addresses_of_this_machine_are_recognised():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anywhere:
        # Nothing is sent; the system chooses the address from which it would be.
        anywhere.connect(("10.255.255.255", 1))
        assert is_this_machine(f"http://{anywhere.getsockname()[0]}:8000/v1")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"])
@pytest.mark.parametrize("value", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "socks5h://127.0.0.1:9", *UNUSABLE])
def test_a_judge_on_this_machine_is_reached_directly(variable, value, monkeypatch, tmp_path):
    monkeypatch.setenv(variable, value)
    with JudgeServer(lambda text, n, system: YES) as server:
        assert [j.verdict for j in llm_judge(server, tmp_path).harm([Exchange("q", "r")])] == ["harmless"]


class _At:
    url = REMOTE


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("value", UNUSABLE)
def test_a_proxy_that_cannot_be_used_is_named_before_any_call(variable, value, monkeypatch, tmp_path):
    monkeypatch.setenv(variable, value)
    with pytest.raises(HNeuronsError, match=rf"judges.llm: {REMOTE}: the proxy in {variable} .* cannot be used") as caught:
        llm_judge(_At, tmp_path).harm([Exchange("q", "r")])
    assert f"unset {variable}" in str(caught.value) and "\n" not in str(caught.value)


def test_socks_without_its_package_is_told_with_the_package(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5h://10.0.0.1:1080")
    monkeypatch.setattr(proxies.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HNeuronsError, match=r"ALL_PROXY .*pip install socksio"):
        client_options(REMOTE, "judges.llm")
    monkeypatch.setattr(proxies.importlib.util, "find_spec", lambda name: name)
    assert client_options(REMOTE, "judges.llm")["proxy"] == "socks5h://10.0.0.1:1080"


def test_a_proxy_leads_to_a_remote_judge_and_a_failure_names_it_without_its_password(monkeypatch, tmp_path):
    with JudgeServer(lambda text, n, system: YES) as proxy:
        address = proxy.url.removeprefix("http://").removesuffix("/v1")
        monkeypatch.setenv("http_proxy", f"me:secret@{address}")
        assert [j.verdict for j in llm_judge(_At, tmp_path).harm([Exchange("q", "r")])] == ["harmless"]
        proxy.behave = lambda text, n, system: (407, "Proxy Authentication Required")
        (refused,) = llm_judge(_At, tmp_path).harm([Exchange("q", "another")])
    assert "HTTP 407: Proxy Authentication Required, through the proxy in http_proxy" in refused.why
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    (failed,) = llm_judge(_At, tmp_path).harm([Exchange("q", "a third")])
    assert "through the proxy in http_proxy (http://127.0.0.1:9)" in failed.why and "secret" not in failed.why + refused.why


@pytest.mark.parametrize("entry", ["judge.example", ".example", "*", "example", "10.1.0.0/16,judge.example:80"])
def test_no_proxy_is_honoured(entry, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://10.0.0.1:8080")
    assert proxy_to("http://judge.example:80/v1").variable == "HTTP_PROXY"
    monkeypatch.setenv("NO_PROXY", f"another.host, {entry}")
    assert proxy_to("http://judge.example:80/v1") is None
    assert (proxy_to("http://10.1.2.3/v1") is None) == ("*" in entry or "/16" in entry)


def test_each_scheme_has_its_variable_and_lower_case_takes_precedence(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    monkeypatch.setenv("HTTPS_PROXY", "secure:2")
    assert proxy_to("https://a.example").url == "http://secure:2" and proxy_to("http://a.example").url == "http://all:1"
    monkeypatch.setenv("https_proxy", "http://lower:3")
    assert proxy_to("https://a.example").label == "https_proxy (http://lower:3)"
    monkeypatch.setenv("HTTP_PROXY", "nonsense://x")
    assert client_options("https://a.example", "judges.llm")["proxy"] == "http://lower:3", (
        "another scheme's is not looked at"
    )


FETCH = """
import sys
from hneurons.errors import HNeuronsError
from hneurons.models.hub import check_access, fetch_snapshot
from hneurons.models.load import load_model
hub = {"id": "owner/name", "revision": "a" * 40, "remote_code": False}
for fetch in (lambda: fetch_snapshot("owner/name"), lambda: check_access({"m": hub}), lambda: load_model("owner/name")):
    try:
        fetch()
    except HNeuronsError as error:
        print(" ".join(str(error).split()))
"""


def fetched(home, **environment):
    """What each way to fetch from a hub ends with, in a process of its own as the client reads its settings once."""
    environment = {**os.environ, **environment, "HF_HOME": str(home), "HF_ENDPOINT": "http://10.255.255.1:9"}
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run([sys.executable, "-c", FETCH], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value"), [("ALL_PROXY", "socks://10.0.0.1:1080"), ("https_proxy", "http://host:port")]
)
def test_the_hub_names_a_proxy_that_cannot_be_used(variable, value, tmp_path):
    lines = fetched(tmp_path, **{variable: value})
    assert len(lines) == 3
    assert all(f"the proxy in {variable}" in line and f"unset {variable}" in line for line in lines), lines


def test_a_connection_that_a_proxy_refuses_is_told_with_the_proxy(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://10.0.0.1:3128")
    error = type("ProxyError", (Exception,), {"__module__": "httpx"})("403 Forbidden")
    with pytest.raises(OSError, match="ProxyError: 403 Forbidden"), network_errors(REMOTE):
        raise error
    assert through_proxy(REMOTE) == ", through the proxy in HTTP_PROXY (http://10.0.0.1:3128)"


def test_a_source_that_is_fetched_through_a_broken_proxy_names_it(monkeypatch, tmp_path):
    monkeypatch.setenv("https_proxy", "http://")
    with pytest.raises(HNeuronsError, match="https_proxy"):
        fetch_source("truthfulqa", None, tmp_path / "TruthfulQA.csv")


def test_errors_that_are_not_of_the_network_stay_what_they_are():
    with pytest.raises(ValueError, match="Unrecognized"), network_errors(REMOTE):
        raise ValueError("Unrecognized configuration class")


def test_certificates_matter_for_https_only(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    assert "verify" not in client_options("http://localhost:8000/v1", "judges.llm")
    with pytest.raises(HNeuronsError, match=r"judges\.llm: https://judge\.example: the certificates of SSL_CERT_FILE"):
        client_options("https://judge.example", "judges.llm")
