"""A new version into the server that runs on the repository, or out of the repository again."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from lnclip import running
from lnclip.artifact import Flavour, Identity
from lnclip.contract import ENCODER
from lnclip.errors import ParityError, PublishError, ServerError, WithdrawnError
from lnclip.golden import Golden, check_answer
from lnclip.publication import WITHDRAWN, versions
from server.asking import encode
from server.control import load_model

log = logging.getLogger(__name__)


def server_on(repository: Path, flavour: Flavour, run_dir: Path) -> running.RunningServer | None:
    """The server that serves this very folder.

    Raises:
        PublishError: it runs another flavour, and could not load the version.
    """
    server = running.find(run_dir)
    if server is None or server.repository.resolve() != repository.resolve():
        return None
    if server.flavour != flavour:
        raise PublishError(f"the server on {repository} runs flavour {server.flavour}: publish that one, or stop it")
    return server


def check_served(server: running.RunningServer, golden: Golden, identity: Identity, max_dp: float) -> None:
    """Send the golden crops through a server's encoder.

    Raises:
        ServerError: it does not answer.
        ParityError: other weights answered, or something else than they should.
    """
    check_answer(encode(server, golden.crops), golden, identity, max_dp)


def reload(server: running.RunningServer, version: Path, golden: Golden, identity: Identity, max_dp: float) -> None:
    """Let the server take the newest version, or take that version away again.

    The version that answers goes on until the new one is loaded; requests between the load and a failed
    check are answered by the new one.

    Raises:
        WithdrawnError: the server refused it, or answers otherwise with it; the version before serves.
    """
    refused = f"the server refused version {version.name}, so it is withdrawn"
    try:
        load_model(server, ENCODER)
    except ServerError as error:  # what served goes on; seen: loading that again can hold up the server's stop
        _withdraw(version)
        raise WithdrawnError(f"{refused}: {error}") from error
    try:
        check_served(server, golden, identity, max_dp)
    except (ServerError, ParityError) as error:
        _withdraw(version)
        now = _load_before(server, version.parent)
        raise WithdrawnError(f"{refused} and {now}: {error}") from error


def _withdraw(version: Path) -> None:
    """Take a version away, where ``lnclip.publication`` still finds its model.json."""
    withdrawn = version.with_name(WITHDRAWN)
    shutil.rmtree(withdrawn, ignore_errors=True)
    version.rename(withdrawn)


def _load_before(server: running.RunningServer, encoder: Path) -> str:
    """Let the server take what is the newest version now; says what serves."""
    try:
        load_model(server, ENCODER)
    except ServerError as error:
        log.warning("%s", error)
        return "what the server has now python -m server status says"
    return f"version {versions(encoder)[-1]} serves again"
