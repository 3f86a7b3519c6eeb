"""Where the page is served: on 127.0.0.1 alone, and nothing on it comes from or goes elsewhere."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from client.ways import addresses
from lnclip.errors import ConfigError, ServerError

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
USUAL_PORT = 7860
"""Gradio's own; when it is taken, another is found."""

GRACE_S = 3
"""For answers on their way, once Ctrl-C was pressed."""

POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; form-action 'none'; base-uri 'self'"
)
"""Gradio's templates are evaluated in the browser; whatever else it might want to load is not loaded."""


def serve_ui(urls: Sequence[str] | None, port: int | None) -> None:
    """Serve the page until Ctrl-C.

    Args:
        urls: gRPC addresses of Triton; None is the server that runs from the working directory,
            looked up for each file: it need not run yet.
        port: on loopback; None is 7860, or another when that is taken.

    Raises:
        ConfigError: the port cannot be had.
    """
    try:
        addresses(urls)
    except ServerError as error:
        log.warning("%s. Files can be scored as soon as it runs", error)
    with _listen(port) as listener, prepare_server(urls) as server:
        log.info("http://%s:%d  (Ctrl-C ends it)", *listener.getsockname())
        with contextlib.suppress(KeyboardInterrupt):  # the way to end it; raised again once all is closed
            server.run([listener])


@contextlib.contextmanager
def prepare_server(urls: Sequence[str] | None) -> Iterator[uvicorn.Server]:
    """A server to be run on a socket of one's own; leaving deletes every upload."""
    with tempfile.TemporaryDirectory(prefix="lnclip-ui-") as uploads, _gradio_settings(uploads):
        import uvicorn
        from starlette.middleware.trustedhost import TrustedHostMiddleware

        from client.ui.page import make_app

        app = make_app(urls, Path(uploads))
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])  # against DNS rebinding
        settings = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            headers=[("Content-Security-Policy", POLICY), ("Referrer-Policy", "no-referrer")],
            timeout_graceful_shutdown=GRACE_S,
        )
        yield uvicorn.Server(settings)


@contextlib.contextmanager
def _gradio_settings(uploads: str) -> Iterator[None]:
    """Gradio reads its environment when it is imported, and again with each upload."""
    settings = {"GRADIO_TEMP_DIR": uploads, "GRADIO_ANALYTICS_ENABLED": "False"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= settings
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _listen(port: int | None) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, USUAL_PORT if port is None else port))
    except OSError as error:
        if port is None:
            return socket.create_server((LOOPBACK, 0))
        raise ConfigError(f"port {port} on {LOOPBACK} cannot be had ({error.strerror}): give another --port") from error
    except OverflowError as error:
        raise ConfigError(f"--port {port}: must be 0 to 65535") from error
