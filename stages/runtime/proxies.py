"""The proxies that the environment names, as far as a client of HTTP stops for them, whatever it asks."""

import importlib.util
from urllib.request import getproxies

from stages.runtime.errors import UserError


def check() -> None:
    """Nothing if every proxy can be used.

    Raises:
        UserError: a SOCKS proxy, without the package that speaks to it.
    """
    named = getproxies()  # of HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, in small or capital letters
    for kind in ("http", "https", "all"):
        is_socks = named.get(kind, "").lower().startswith("socks")
        if is_socks and "*" not in named.get("no", "") and importlib.util.find_spec("socksio") is None:
            raise UserError(f"the variable {kind}_proxy or {kind.upper()}_PROXY names a SOCKS proxy, which needs a "
                            "package: run `pip install socksio`, or unset the variable")  # fmt: skip
