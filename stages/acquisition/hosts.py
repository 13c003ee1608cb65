"""Download URLs and credentials, read from environment variables only.

For a host named H in a registry:

- FABNET_H_URL: the URL of the folder with its files or, with a key, the URL that takes `key` and `file`
- FABNET_H_KEY: the key that the owner sent by mail
- FABNET_H_USER and FABNET_H_PASSWORD: the login of the older scheme
- FABNET_MIRROR: a copy of all releases, used instead of every owner: the files of a data set are in
  <FABNET_MIRROR>/<dataset>/, and `registry.txt` there replaces the committed one

Servers that are named here may be anywhere; URLs that a release lists may lead to any other server of the public
internet only (stages/acquisition/connections.py).
Certificates of your own authority: SSL_CERT_FILE. Secrets stay in this module: other modules log or raise a URL only
through `without_secrets`.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from stages.runtime.errors import UserError

MIRROR = "FABNET_MIRROR"
_PORTS = {"http": 80, "https": 443}
Server = tuple[str, int]  # host name or address, port


@dataclass(frozen=True)
class Host:
    """Base URL and credentials; printing it does not show the secrets."""

    base: str
    key: str = field(default="", repr=False)
    login: tuple[str, str] | None = field(default=None, repr=False)

    def url(self, name: str) -> str:
        """URL of the file `name`."""
        if self.key:
            separator = "&" if urlsplit(self.base).query else "?"
            return f"{self.base}{separator}{urlencode({'key': self.key, 'file': name})}"
        return f"{self.base.rstrip('/')}/{quote(name)}"


def find(host: str, environment: Mapping[str, str]) -> Host | None:
    """The host of that name, or None if its URL is not set.

    Raises:
        UserError: its URL is not an http(s) URL, contains a login, or only half a login is set.
    """
    prefix = f"FABNET_{host}"
    base = environment.get(f"{prefix}_URL", "")
    if not base:
        return None
    user, password = (environment.get(f"{prefix}_{name}", "") for name in ("USER", "PASSWORD"))
    if bool(user) != bool(password):
        raise UserError(f"{prefix}_USER and {prefix}_PASSWORD should both be set, found one of them")
    return Host(
        _checked(base, f"{prefix}_URL"), environment.get(f"{prefix}_KEY", ""), (user, password) if user else None
    )


def mirror(dataset: str, environment: Mapping[str, str]) -> Host | None:
    """The mirror's folder of one data set, or None if no mirror is set."""
    base = environment.get(MIRROR, "")
    return Host(f"{_checked(base, MIRROR).rstrip('/')}/{dataset}") if base else None


def named(environment: Mapping[str, str]) -> frozenset[Server]:
    """The servers of all URLs that the user has set."""
    urls = [
        value
        for variable, value in environment.items()
        if variable == MIRROR or (variable.startswith("FABNET_") and variable.endswith("_URL"))
    ]
    return frozenset(server_of(url) for url in urls if url)


def server_of(url: str) -> Server:
    """Host and port that a URL is requested from; empty and 0 if it has none."""
    with suppress(ValueError):
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    return "", 0


def without_secrets(url: str) -> str:
    """The URL without login, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid URL"
    return urlunsplit((parts.scheme, server(url), parts.path, "", ""))


def server(url: str) -> str:
    """Host and port of the URL; empty if it has none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _checked(url: str, variable: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        valid = False
    if not valid:
        raise UserError(f"{variable} should be an http(s) URL without a login; see stages/acquisition/hosts.py")
    return url
