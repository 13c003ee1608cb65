"""Prefect's server for requests to loopback alone, which uvicorn runs.

Prefect has no setting for it. A page of another origin, whose name leads to 127.0.0.1, would count as the server's own
in a browser, and could start runs; its requests name another host.
"""

from fastapi.middleware.trustedhost import TrustedHostMiddleware
from prefect.server.api.server import create_app

from pipelines.running.surroundings import LOOPBACK


def create() -> TrustedHostMiddleware:
    """The server, which answers 400 to a request whose header `Host` names none of LOOPBACK, at any port."""
    return TrustedHostMiddleware(create_app(), allowed_hosts=LOOPBACK)
