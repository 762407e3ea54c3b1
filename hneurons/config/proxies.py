"""Proxies in the environment: which one leads to a server, and one line about a proxy that cannot be used."""

import importlib.util
import ipaddress
import os
import re
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from hneurons.errors import HNeuronsError

_KINDS = ("http", "https", "socks5", "socks5h")
_HOST = re.compile(r"[\w.-]+|\[?[0-9a-fA-F:.]+(?:%\w+)?\]?")


@dataclass(frozen=True)
class Proxy:
    """A proxy that the environment names.

    Attributes:
        variable: The environment variable.
        url: The proxy's address.
    """

    variable: str
    url: str

    @property
    def label(self) -> str:
        """Variable and address, without a password."""
        scheme, slashes, address = self.url.rpartition("://")
        return f"{self.variable} ({scheme}{slashes}{address.rpartition('@')[2]})"

    @property
    def problem(self) -> str:
        """Why the proxy cannot be used; empty if it is usable."""
        parts = _split(self.url)
        if parts is None or not _HOST.fullmatch(parts.hostname or ""):
            return "it is not the address of a proxy, such as http://host:port"
        if parts.scheme not in _KINDS:
            return f"{parts.scheme}:// is not {', '.join(_KINDS[:-1])} or {_KINDS[-1]}"
        if parts.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
            return "SOCKS needs the package socksio (pip install socksio)"
        return ""


def is_this_machine(url: str) -> bool:
    """Return whether a URL leads to this machine: by localhost, the machine's host name or one of its addresses."""
    parts = _split(url)
    host = ((parts.hostname if parts else None) or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = socket.gethostname().lower()
        if host in ("localhost", name) or host.endswith(".localhost"):
            return True
        # The full name may have to be looked up in the network.
        return bool(host) and host.split(".")[0] == name.split(".")[0] and host == socket.getfqdn().lower()
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified or _is_bindable(address)


def proxy_to(url: str) -> Proxy | None:
    """Return the proxy through which a server is reached; None for this machine, and for hosts in NO_PROXY."""
    parts = _split(url)
    if parts is None or is_this_machine(url) or _is_excepted(parts):
        return None
    return next((proxy for proxy in _proxies((parts.scheme, "all"))), None)


def client_options(url: str, setting: str) -> dict[str, Any]:
    """Return the options of an httpx client that reaches one server as the environment says.

    The client itself would refuse to start because of any proxy variable, and would ask proxies for this machine.

    Args:
        url: Address of the server.
        setting: The setting that names the server, for the message.

    Raises:
        HNeuronsError: The server's proxy cannot be used.
    """
    proxy = proxy_to(url)
    if proxy and proxy.problem:
        raise HNeuronsError(f"{setting}: {url}: {_unusable(proxy)}")
    # Without trust_env the client ignores these variables too.
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    options = {"trust_env": False, "proxy": proxy.url if proxy else None}
    if not (file or folder) or not url.lower().startswith("https:"):
        return options
    try:
        return {**options, "verify": ssl.create_default_context(cafile=file, capath=folder)}
    except OSError as error:
        raise HNeuronsError(
            f"{setting}: {url}: the certificates of SSL_CERT_FILE ({file}) or SSL_CERT_DIR ({folder}) cannot be read: "
            f"{error}"
        ) from None


def through_proxy(url: str) -> str:
    """Return ", through the proxy in VARIABLE (address)", for messages about a server that does not answer, or ""."""
    proxy = proxy_to(url)
    return f", through the proxy in {proxy.label}" if proxy else ""


@contextmanager
def network_errors(url: str) -> Iterator[None]:
    """Turn the errors of clients that read the environment themselves into OSError.

    Args:
        url: Address of the server.

    Raises:
        HNeuronsError: A proxy in the environment cannot be used.
        OSError: Any other error of the network, also where the client has another class for it.
    """
    try:
        yield
    except HNeuronsError:
        raise
    # The errors of a client have no common base: unknown schemes, missing packages, malformed addresses, lost connections.
    except Exception as error:
        chain = list(_chain(error))
        is_of_client = any(type(e).__module__.startswith("http") or "proxy" in str(e).lower() for e in chain)
        used, broken = proxy_to(url), [p for p in _proxies(("http", "https", "all")) if p.problem]
        if broken and (is_of_client or (used in broken and isinstance(error, OSError))):
            raise HNeuronsError(_unusable(used if used in broken and used else broken[0])) from None
        if isinstance(error, OSError) or not is_of_client:
            raise
        raise OSError(f"{type(error).__name__}: {error}") from None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _unusable(proxy: Proxy) -> str:
    return (
        f"the proxy in {proxy.label} cannot be used: {proxy.problem}; unset {proxy.variable}, set it to an "
        f"http:// proxy, or add the server to NO_PROXY"
    )


def _proxies(schemes: tuple[str, ...]) -> Iterator[Proxy]:
    addresses = urllib.request.getproxies()
    for scheme in schemes:
        if address := addresses.get(scheme):
            # As everywhere, the variable in lower case takes precedence.
            names = sorted((n for n in os.environ if n.lower() == f"{scheme}_proxy" and os.environ[n]), reverse=True)
            yield Proxy(
                names[0] if names else "the system's settings", address if "://" in address else f"http://{address}"
            )


def _is_bindable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether a server could listen at an address, which must be one of this machine's."""
    try:
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6) as free:
            free.bind((str(address), 0))
    except OSError:
        return False
    return True


def _is_excepted(parts: SplitResult) -> bool:
    """Whether NO_PROXY names a host, its domain or its network."""
    host = parts.hostname or ""
    if urllib.request.proxy_bypass(f"{host}:{parts.port}" if parts.port else host):
        return True
    for entry in urllib.request.getproxies().get("no", "").split(","):
        try:
            network = entry.strip().strip("[]")
            if network == "*" or ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False):
                return True
        except ValueError:
            continue
    return False


def _split(url: str) -> SplitResult | None:
    """The parts of an address, None if it has no valid form."""
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        return None
    return parts
