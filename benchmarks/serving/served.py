"""Which server is measured, and what the record says of its encoder.

A server of this machine has a repository that names its encoder. One that somebody else runs, Triton on a GPU say,
is given by its address, and is asked itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import JsonValue, ValidationError

from benchmarks.serving.measuring import Mode, Target
from benchmarks.serving.model_statistics import Statistics, read_statistics, split
from benchmarks.serving.payloads import encoder_side_px
from client.answers import ENSEMBLE_OUTPUTS, read_answer
from client.backends.encoding import ServedCropEncoder
from client.calling import CallError, CallPolicy
from client.limits import Limit
from client.servers import Servers
from client.wire import question, with_image
from lnclip import running
from lnclip.artifact import Artifact
from lnclip.contract import ENCODER, ENSEMBLE, IMAGE
from lnclip.errors import ConfigError, EngineError, ServerError
from lnclip.identity import ContentId
from lnclip.publication import versions
from lnclip.running import RunningServer
from lnclip.scoring import ServedModel
from server.probe import GREY_PPM

COUNTED_S = 3.0
"""Within which a server's statistics count a request that it answered; seen: a moment later."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server that is ready, and what is known of it."""

    target: Target
    kind: Literal["embedded", "random", "given"]
    """It runs from the working directory, was started on random weights, or is somebody else's."""

    called: str
    """Its encoder in a caption, "ViT-L-14 fp32"."""

    facts: Mapping[str, JsonValue]
    """Of its encoder, for the record's settings; no address is among them."""


def embedded(mode: Mode) -> Served:
    """The server that runs from the working directory.

    Raises:
        ServerError: none does.
    """
    server = running.find()
    if server is None:
        raise ServerError("no server runs from here: python -m server start, or give --url HOST:PORT")
    return of_this_machine(server, "embedded", mode)


def of_this_machine(server: RunningServer, kind: Literal["embedded", "random"], mode: Mode) -> Served:
    """A server whose process and repository are here; its encoder is the newest version there."""
    published = versions(server.repository / ENCODER)
    identity = None
    if published:
        identity = Artifact.load(server.repository / ENCODER / str(published[-1]) / "model.json").identity
    return Served(
        target=Target(grpc_url=server.grpc_url, http_url=server.http_url, pid=server.pid, mode=mode),
        kind=kind,
        called=f"{identity.encoder.name} {identity.precision}" if identity else "an encoder that is not known",
        facts={"encoder": identity.model_dump(mode="json") if identity else None},
    )


def given(url: str, http_url: str | None, mode: Mode) -> Served:
    """A server by its address; one test request says what it serves.

    Args:
        url: of gRPC, ``host:port``.
        http_url: of HTTP, for the statistics; None: the port before that of gRPC, as Triton has them by default.
        mode: how it will be asked.

    Raises:
        ConfigError: ``http_url`` is none.
        ServerError: it does not answer, lacks a model or refuses; or its statistics are another server's.
    """
    grpc_url = running.grpc_url(url)
    target = Target(grpc_url=grpc_url, http_url=_http_url(grpc_url, http_url), pid=None, mode=mode)
    model = asyncio.run(_ask(target))
    name = f"{model['name']} {model['precision']}" if "name" in model else f"encoder {model['artifact_id']}"
    return Served(target=target, kind="given", called=f"{name}, a server given by --url", facts={"model": model})


def _http_url(grpc_url: str, given: str | None) -> str:
    host, _, port = (given or grpc_url).rpartition(":")
    if given is None:
        return f"{host}:{int(port) - 1}"
    if not host or "/" in host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--http-url {given} is no address: give HOST:PORT alone, the port of Triton's HTTP")
    return given


async def _ask(target: Target) -> dict[str, JsonValue]:
    """What it serves: the ensemble's words for it, or the encoder's ids where there is no ensemble."""
    async with Servers([target.grpc_url], CallPolicy(retries=0, patience_s=0), Limit(1)) as servers:
        await servers.check_ready(target.model)
        try:
            before = read_statistics(target.http_url)
        except ServerError as error:
            raise ServerError(
                f"{error}. Triton's statistics are read over HTTP: give its address with --http-url HOST:PORT"
            ) from error
        has_ensemble = any(name == ENSEMBLE for name, _ in before.models)
        try:
            model = await (_ensemble_model(servers) if has_ensemble else _encoder_model(servers, target.http_url))
        except (CallError, EngineError) as error:
            raise ServerError(
                f"{target.grpc_url} does not answer a test request as this version's models do ({error}): "
                "see its log, and serve the repository of this version (python -m server init)"
            ) from error
    _check_counted(target, before)
    return model


async def _ensemble_model(servers: Servers) -> dict[str, JsonValue]:
    asked = question(ENSEMBLE, IMAGE, ENSEMBLE_OUTPUTS, {})
    answer = read_answer(await servers.send(with_image(asked, GREY_PPM)))
    try:
        return ServedModel.model_validate(answer.model).model_dump(mode="json")
    except ValidationError as error:
        issue = error.errors()[0]
        raise EngineError(f"model.{'.'.join(map(str, issue['loc']))}: {issue['msg']}") from error


async def _encoder_model(servers: Servers, http_url: str) -> dict[str, JsonValue]:
    side_px = encoder_side_px(http_url)
    answers = await ServedCropEncoder(servers).encode(np.full((1, side_px, side_px, 3), 128, np.uint8))
    ids = {"artifact_id": answers.artifact_id, "spec_id": answers.spec_id}
    return {name: ContentId.from_words(words[0]).hex for name, words in ids.items()}


def _check_counted(target: Target, before: Statistics) -> None:
    """Refuse statistics in which the request that was just answered does not show."""
    until_s = time.monotonic() + COUNTED_S
    while split(before, read_statistics(target.http_url), target.model).requests == 0:
        if time.monotonic() > until_s:
            raise ServerError(
                f"the statistics at http://{target.http_url} do not count what {target.grpc_url} answers: "
                "they are another server's; give the right one with --http-url HOST:PORT"
            )
        time.sleep(0.05)
