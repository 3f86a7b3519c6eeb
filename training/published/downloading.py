"""Weights from Hugging Face: one commit, named in full, so that the same words give the same file."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: of the library below, whichever it is
    EntryNotFoundError,
    GatedRepoError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)

from lnclip.errors import ArtifactError, ConfigError, SetupError
from lnclip.identity import file_sha256

log = logging.getLogger(__name__)

PREFIX = "hf:"
OPEN_CLIP = "open_clip_model.safetensors"
FILES = ("model.safetensors", OPEN_CLIP, "model.ckpt")
"""Whichever a repository has first is its weights."""

PINNED = {
    "yermandy/GenD_CLIP_L_14": (
        "891ce014a0308386c4d7d25b3dcf436a22db5504",
        "d76f0bdfd74a29fe1b1c1b84a80ac92486993e426878e8c7a3944281fbb96833",
    ),
    "openai/clip-vit-large-patch14": (
        "32bd64288804d66eefd0ccbe215aa642df71cc41",
        "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
    ),
}
"""Revision and SHA-256 of the weights, where known."""

VERIFIED = {digest: f"hf:{name}@{revision}" for name, (revision, digest) in PINNED.items()}


@dataclass(frozen=True, kw_only=True)
class Located:
    """Files of one source on this machine."""

    weights: Path
    config: Path | None
    repository: str | None = None
    """owner/name."""

    revision: str = ""

    def called(self, path: Path) -> str:
        """What provenance calls a file: where it is published, or its bare name."""
        return f"{PREFIX}{self.repository}@{self.revision}/{path.name}" if self.repository else path.name


def fetch(source: str) -> Located:
    """Download hf:owner/name@revision into Hugging Face's own cache, or find it there.

    Raises:
        ConfigError: the source does not name a commit, or there is nothing to import at it.
        SetupError: it cannot be downloaded; the message says how to go on by hand.
        ArtifactError: the file is not the one known to be published there.
    """
    repository, revision = parse(source)
    weights = _first(repository, revision, FILES)
    if weights is None:
        raise ConfigError(f"{source} has none of {', '.join(FILES)}")
    config = _first(repository, revision, configs_beside(weights.name))
    pinned_revision, pinned_digest = PINNED.get(repository, ("", ""))
    if revision == pinned_revision and (digest := file_sha256(weights)) != pinned_digest:
        raise ArtifactError(
            f"{weights.name} of {source} has SHA-256 {digest}, must be {pinned_digest}: not used. "
            f"Remove {weights} and {weights.resolve()} to download it again"
        )
    return Located(weights=weights, config=config, repository=repository, revision=revision)


def configs_beside(weights: str) -> tuple[str, ...]:
    """What the configuration of such a file may be called, the likeliest first."""
    return ("open_clip_config.json", "config.json") if weights == OPEN_CLIP else ("config.json",)


def parse(source: str) -> tuple[str, str]:
    """Owner/name and commit of hf:owner/name@commit.

    Raises:
        ConfigError: it is something else.
    """
    found = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)(?:@(.*))?", source)
    if found is None:
        raise ConfigError(f"{source} is not hf:owner/name@revision")
    repository, revision = found[1], found[2] or ""
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return repository, revision
    if repository in PINNED:
        advice = f"for example hf:{repository}@{PINNED[repository][0]}"
    else:
        advice = f"the commits are at https://huggingface.co/{repository}/commits/main"
    raise ConfigError(f"{source} must name a commit by all its 40 digits, as what a branch holds can change: {advice}")


def _first(repository: str, revision: str, names: Sequence[str]) -> Path | None:
    """The first of these files that the repository has.

    Raises:
        ConfigError: there is no such repository or commit.
        SetupError: no network, no permission, or a download that was cut off.
    """
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except LocalEntryNotFoundError as error:  # what huggingface_hub makes of no connection
            raise SetupError(_by_hand(repository, revision, names, str(error.__cause__ or error))) from error
        except EntryNotFoundError:
            continue
        except GatedRepoError as error:
            raise SetupError(
                f"{repository} is gated: accept its licence at https://huggingface.co/{repository}, make a token at "
                "https://huggingface.co/settings/tokens, and set HF_TOKEN to it (or: hf auth login)"
            ) from error
        except RevisionNotFoundError as error:
            raise ConfigError(f"{repository} has no commit {revision}") from error
        except RepositoryNotFoundError as error:
            raise ConfigError(
                f"there is no {repository} at Hugging Face, or it is private: then set HF_TOKEN to a token for it"
            ) from error
        except (OSError, HTTPError, XetDownloadError, RuntimeError) as error:  # hf_xet's own are RuntimeErrors
            raise SetupError(_by_hand(repository, revision, names, str(error))) from error
    return None


def _by_hand(repository: str, revision: str, names: Sequence[str], reason: str) -> str:
    return (
        f"{' or '.join(names)} of {repository} cannot be downloaded: {reason.partition(chr(10))[0]}. "
        f"Download it and config.json from https://huggingface.co/{repository}/tree/{revision} elsewhere into one "
        "folder, and then: python -m training import FOLDER --out RUN"
    )
