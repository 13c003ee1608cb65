"""Where files are handed out: addresses and access keys, from environment variables and from nowhere else.

For a host named H in a registry:

- FABNET_H_URL: the address below which its files lie, or, with a key, the address that takes `key` and `file`
- FABNET_H_KEY: the key that the owner sent by mail
- FABNET_H_USER and FABNET_H_PASSWORD: the login of the older scheme
- FABNET_MIRROR: a copy of all releases, which comes before every owner: files of a data set lie below
  <FABNET_MIRROR>/<dataset>/, and `registry.txt` there takes the place of the committed one

Certificates of an authority of your own: SSL_CERT_FILE. Secrets stay in here: what is logged or raised elsewhere goes
through `shown`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from stages.runtime.errors import UserError

MIRROR = "FABNET_MIRROR"


@dataclass(frozen=True)
class Host:
    """Base address and what opens it; the secrets do not show when it is printed."""

    base: str
    key: str = field(default="", repr=False)
    login: tuple[str, str] | None = field(default=None, repr=False)

    def address(self, name: str) -> str:
        """Where the file `name` is handed out."""
        if self.key:
            joint = "&" if urlsplit(self.base).query else "?"
            return f"{self.base}{joint}{urlencode({'key': self.key, 'file': name})}"
        return f"{self.base.rstrip('/')}/{quote(name)}"


def find(host: str, environment: Mapping[str, str]) -> Host | None:
    """The host of that name, or none if no address is set for it.

    Raises:
        UserError: its address is no http(s) address, holds a login, or only half a login is set.
    """
    prefix = f"FABNET_{host}"
    base = environment.get(f"{prefix}_URL", "")
    if not base:
        return None
    user, password = (environment.get(f"{prefix}_{part}", "") for part in ("USER", "PASSWORD"))
    if bool(user) != bool(password):
        raise UserError(f"{prefix}_USER and {prefix}_PASSWORD should both be set, found one of them")
    return Host(
        _checked(base, f"{prefix}_URL"), environment.get(f"{prefix}_KEY", ""), (user, password) if user else None
    )


def mirror(dataset: str, environment: Mapping[str, str]) -> Host | None:
    """The mirror's folder of one data set, or none if no mirror is set."""
    base = environment.get(MIRROR, "")
    return Host(f"{_checked(base, MIRROR).rstrip('/')}/{dataset}") if base else None


def shown(address: str) -> str:
    """The address without login, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "an address that is none"
    return urlunsplit((parts.scheme, server(address), parts.path, "", ""))


def server(address: str) -> str:
    """Host and port of the address, empty if it has none."""
    try:
        return urlsplit(address).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _checked(base: str, variable: str) -> str:
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        usable = False
    if not usable:
        raise UserError(
            f"{variable} should be an http(s) address without a login in it; see stages/acquisition/hosts.py"
        )
    return base
