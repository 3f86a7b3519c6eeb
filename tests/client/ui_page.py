"""The page while a test runs: served as users have it, and watched for what it asks of others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from client.ui.serving import LOOPBACK, _listen, prepare_server

asked_outside: list[str] = []


def note_outside(event: str, arguments: tuple) -> None:
    """An audit hook: whatever this process connects to or looks up beyond loopback."""
    host = ""
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = str(arguments[1][0])
    elif event == "socket.getaddrinfo":
        host = str(arguments[0])
    if host not in ("", "127.0.0.1", "localhost", "::1", "None"):
        asked_outside.append(f"{event} {host}")


@contextmanager
def running(urls: list[str]) -> Iterator[str]:
    """The page's address, as ``serve_ui`` serves it."""
    with _listen(0) as listener, prepare_server(urls) as server:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        deadline_s = time.monotonic() + 30
        while not server.started and time.monotonic() < deadline_s:
            time.sleep(0.02)
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join(10)


def drop(page, file: Path) -> None:
    page.set_input_files("#drop input[type=file]", file)
    page.wait_for_selector(f"#findings .verdict:has-text('{file.name}')")
