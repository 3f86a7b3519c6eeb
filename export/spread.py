"""Random weights whose answers differ: what tests and dry runs use where no trained weights are.

A random network with a random head says p = 0.52 of everything, and any graph agrees with that.
Here the embeddings differ between crops, the LayerNorm affines are not the identity, and the head
lies along the direction in which the embeddings differ most.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from lnclip.architecture import Activation, EncoderArchitecture
from lnclip.artifact import Artifact, Identity, Provenance
from lnclip.encoder import FaceEncoder, build_encoder, class_column
from lnclip.identity import file_sha256
from lnclip.preprocess import normalise
from lnclip.spec import PreprocessSpec

MIN_SPREAD = 0.25
"""Standard deviation of p_fake over the crops."""

STEEPNESS = 3.0
"""Logit difference at one standard deviation along the direction: p spreads by about 0.37 then."""

BATCH = 16


def write_random_run(
    out: Path,
    architecture: EncoderArchitecture,
    crops_NHWC: NDArray[np.uint8],
    *,
    seed: int = 0,
    spec: PreprocessSpec | None = None,
    activation: Activation = "quick_gelu",
) -> None:
    """A runs/NAME folder with random weights that give spread scores.

    Args:
        out: made if need be.
        architecture: shape of the encoder.
        crops_NHWC: (N, S, S, 3), varied, over which the scores shall spread.
        seed: same seed, same crops: same weights.
        spec: the default one if None.
        activation: of the blocks.

    Raises:
        ValueError: the crops are too alike for scores to differ.
    """
    # Temperature and threshold are not 1 and 0.5, so that losing either shows.
    identity = Identity(
        weights_sha256="0" * 64,
        encoder=architecture,
        activation=activation,
        spec=spec or PreprocessSpec(),
        temperature=1.25,
        threshold=0.45,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build_encoder(identity).eval()
        with torch.no_grad():
            _enliven(encoder)
    with torch.inference_mode():
        embeddings = torch.cat(
            [
                encoder(torch.from_numpy(normalise(crops_NHWC[start : start + BATCH], identity.spec))).embedding
                for start in range(0, len(crops_NHWC), BATCH)
            ]
        )
    spread_head(encoder, embeddings, identity)
    out.mkdir(parents=True, exist_ok=True)
    save_file(encoder.state_dict(), out / "weights.safetensors")
    identity = identity.model_copy(update={"weights_sha256": file_sha256(out / "weights.safetensors")})
    provenance = Provenance(name=out.name, threshold_source="random weights: a constant of the tests")
    Artifact(identity=identity, provenance=provenance).save(out / "model.json")


def _enliven(encoder: FaceEncoder) -> None:
    """Let the pixels decide the feature, and give every LayerNorm an affine of its own.

    By the parameters' names, whatever the family calls them: no bias stays zero and no layer scale
    1e-5, so that losing any of them shows.
    """
    for module in encoder.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.weight.mul_(1 + 0.2 * torch.randn_like(module.weight))
            module.bias.add_(0.2 * torch.randn_like(module.bias))
    for name, parameter in encoder.visual.named_parameters():
        if name.endswith(("class_embedding", "cls_token")):
            parameter.mul_(0.1)
        elif name.endswith(("positional_embedding", "pos_embed")):
            parameter.mul_(0.5)
        elif ".gamma_" in name:
            parameter.uniform_(0.5, 1.5)
        elif "attn" in name and name.endswith("weight") and "norm" not in name:
            parameter.mul_(2.0)
        elif "attn" in name and name.endswith("bias") and "norm" not in name and "out_proj" not in name:
            parameter.normal_(std=0.1)


def spread_head(encoder: FaceEncoder, embeddings_ND: torch.Tensor, identity: Identity) -> None:
    """Point the head along the first principal direction of the embeddings, in place.

    Raises:
        ValueError: the embeddings are too alike for p_fake to spread by ``MIN_SPREAD``.
    """
    centre = embeddings_ND.mean(dim=0)
    direction = torch.linalg.svd(embeddings_ND - centre, full_matrices=False).Vh[0]
    along = (embeddings_ND - centre) @ direction
    steep = STEEPNESS * identity.temperature / along.std()
    fake = class_column(identity, "fake")
    with torch.no_grad():
        for column, sign in ((fake, 0.5), (1 - fake, -0.5)):
            encoder.head.weight[column] = sign * steep * direction
            encoder.head.bias[column] = -sign * steep * (centre @ direction)
        p_fake = (encoder.head(embeddings_ND) / identity.temperature).softmax(dim=1)[:, fake]
    if not p_fake.std() >= MIN_SPREAD:
        raise ValueError(f"p_fake spreads by {p_fake.std():.3f} only: the crops are too alike")
