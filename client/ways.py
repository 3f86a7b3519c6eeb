"""Which ``FileScorer`` the options ask for: nothing else knows all of them."""

from __future__ import annotations

from collections.abc import Sequence

from client.backends.ensemble import EnsembleBackend
from client.backends.protocol import Backend, FileScorer
from client.limits import Limit
from client.media import MediaScorer
from client.options import ScoreOptions
from client.servers import Servers
from lnclip.running import grpc_url


def choose_scorer(urls: str | Sequence[str] | None, options: ScoreOptions, limit: Limit) -> FileScorer:
    """Not entered yet.

    Raises:
        ServerError: a server is needed, none is named, and none runs from here.
    """
    if options.crops:
        return _crop_scorer(urls, options, limit)
    return MediaScorer(_backend(urls, options, limit), options)


def _backend(urls: str | Sequence[str] | None, options: ScoreOptions, limit: Limit) -> Backend:
    if options.way == "local":
        from client.backends.local import LocalBackend

        return LocalBackend(options.repository, options.parameters)
    servers = Servers(_given(urls), options.policy, limit)
    if options.way == "two_calls":
        from client.backends.two_calls import TwoCallBackend

        return TwoCallBackend(servers, options.parameters, options.crop_batch)
    return EnsembleBackend(servers, options.parameters)


def _crop_scorer(urls: str | Sequence[str] | None, options: ScoreOptions, limit: Limit) -> FileScorer:
    from client.crops import CropScorer

    if options.way == "local":
        from client.backends.local import LocalCropEncoder

        return CropScorer(LocalCropEncoder(options.repository), options.spec, options.crop_batch)
    from client.backends.encoding import ServedCropEncoder

    servers = Servers(_given(urls), options.policy, limit)
    return CropScorer(ServedCropEncoder(servers), options.spec, options.crop_batch)


def addresses(urls: str | Sequence[str] | None) -> list[str]:
    """Of gRPC; by default that of the server that runs from the working directory.

    Raises:
        ServerError: none is named, and none runs from here.
    """
    return _given(urls) or [grpc_url(None)]


def _given(urls: str | Sequence[str] | None) -> list[str] | None:
    return [urls] if isinstance(urls, str) else list(urls or ()) or None
