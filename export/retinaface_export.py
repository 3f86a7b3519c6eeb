"""RetinaFace ResNet-50 of retinaface-pytorch -> one ONNX file that a GPU and a CPU both serve.

Normalisation, priors, decoding and the choice of the 256 best are in the graph; suppression is not:
a portable graph has fixed shapes (``lnclip.detection.nms`` does it later). Of the package only
``retinaface.network`` is imported. Legend: B letterboxes, P priors, K = 256 kept rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from export.detector_graph import write_graph
from lnclip.contract import LETTERBOX_PX, MAX_CANDIDATES
from lnclip.retinaface_onnx import GRAPH, RetinaFaceOnnx

VERSION = "retinaface-pytorch 0.0.8"
"""Of the network; which weights are in it, the card says by their checksum."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""RGB, after /255."""

STRIDES_PX = (8, 16, 32)
SIZES_PX = ((16, 32), (64, 128), (256, 512))
"""Square priors at every cell of each stride. Source: retinaface-pytorch predict_single.py."""

CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
"""What the network's offsets were divided by in training. Source: as above."""


def build_network() -> nn.Module:
    """The package's network with random weights; nothing is downloaded."""
    from retinaface.network import RetinaFace

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it calls torchvision with an argument of long ago
        network: nn.Module = RetinaFace(
            name="Resnet50",
            pretrained=False,
            in_channels=256,
            return_layers={"layer2": 1, "layer3": 2, "layer4": 3},
            out_channels=256,
        )
    return network.eval()


def priors(side_px: int) -> Tensor:
    """(P, 4) centre x, centre y, width, height of every prior of a square picture, pixels.

    In the network's order: strides, then rows, then columns, then sizes.
    """
    parts = []
    for stride, sizes in zip(STRIDES_PX, SIZES_PX, strict=True):
        cells = -(-side_px // stride)
        centres = (torch.arange(cells) + 0.5) * stride
        y, x, size = torch.meshgrid(centres, centres, torch.tensor(sizes, dtype=torch.float32), indexing="ij")
        parts.append(torch.stack([x, y, size, size], dim=-1).reshape(-1, 4))
    return torch.cat(parts)


class ServedRetinaFace(nn.Module):
    """The network with the served signature (``lnclip.contract``, face_detector)."""

    priors: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module) -> None:
        """Wrap ``build_network()`` with weights in it."""
        super().__init__()
        self.network = network
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        self.register_buffer("priors", priors(LETTERBOX_PX))
        self.register_buffer("scale", (1 / (255 * std)).reshape(3, 1, 1))
        self.register_buffer("shift", (-mean / std).reshape(3, 1, 1))

    def forward(self, letterbox_NHWC: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Read (B, 640, 640, 3) uint8 RGB.

        Returns:
            boxes (B, K, 4), scores (B, K), landmarks (B, K, 10) in letterbox pixels, best first,
            and detector_id (B, 1).
        """
        # TensorRT lets nothing but a cast read uint8: first cast, then transpose.
        pixels_NCHW = letterbox_NHWC.float().permute(0, 3, 1, 2) * self.scale + self.shift
        offsets_BP4, classes_BP2, landmarks_BP10 = self.network(pixels_NCHW)
        scores, rows_BK = classes_BP2.softmax(dim=-1)[..., 1].topk(MAX_CANDIDATES)
        kept = self.priors[rows_BK]
        centres, sides = kept[..., :2], kept[..., 2:]

        offsets = offsets_BP4.gather(1, rows_BK[..., None].expand(-1, -1, 4))
        box_centres = centres + offsets[..., :2] * CENTRE_VARIANCE * sides
        half_sides = sides * torch.exp(offsets[..., 2:] * SIZE_VARIANCE) / 2
        boxes = torch.cat([box_centres - half_sides, box_centres + half_sides], dim=-1)

        offsets = landmarks_BP10.gather(1, rows_BK[..., None].expand(-1, -1, 10)).unflatten(-1, (5, 2))
        points = centres[:, :, None] + offsets * CENTRE_VARIANCE * sides[:, :, None]
        detector_id = torch.full_like(scores[:, :1], RetinaFaceOnnx.detector_id, dtype=torch.int32)
        return boxes, scores, points.flatten(-2), detector_id


def write_retinaface(weights: Mapping[str, Tensor], folder: Path) -> list[str]:
    """Write model.onnx.

    Args:
        weights: all tensors of the network, from ``retinaface_weights.load_weights``.
        folder: where to.

    Returns:
        Names of the files.
    """
    network = build_network()
    network.load_state_dict(dict(weights), strict=True)
    example = torch.zeros(2, LETTERBOX_PX, LETTERBOX_PX, 3, dtype=torch.uint8)
    outputs = ("boxes", "scores", "landmarks", "detector_id")
    write_graph(ServedRetinaFace(network), example, outputs, {"letterbox": {0: Dim("batch")}}, folder / GRAPH)
    return [GRAPH]
