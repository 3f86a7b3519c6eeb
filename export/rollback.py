"""Back to the weights before: the last version but one, published again as the next."""

from __future__ import annotations

from pathlib import Path

from export.candidate import from_version
from export.publishing import PublishOptions, put_in
from lnclip.contract import ENCODER
from lnclip.errors import PublishError
from lnclip.publication import versions


def rollback(repository: Path, options: PublishOptions | None = None) -> int:
    """Publish the version before the newest one once more, checked like any other candidate.

    Versions only count up, so a rollback of a rollback brings the newer weights back.

    Returns:
        The version.

    Raises:
        PublishError: there is none before, or it fails its check; nothing has changed then.
        WithdrawnError: the running server could not answer with it; the version before serves.
        ArtifactError: its model.json cannot be read.
    """
    encoder = repository / ENCODER
    published = versions(encoder)
    if len(published) < 2:
        there = f"only version {published[0]}" if published else "no version"
        raise PublishError(f"{repository} has {there} of {ENCODER}: there is nothing to go back to")
    return put_in(from_version(encoder / str(published[-2])), repository, options or PublishOptions())
