"""DSSD: SSD with learned deconvolutions that carry the meaning of deep maps into fine ones."""

from __future__ import annotations

from typing import ClassVar

import keras

from ssd_keras.box_networks import blocks
from ssd_keras.box_networks.protocol import COMMON_STAGES, Request
from ssd_keras.box_networks.ssd import SSD
from ssd_keras.errors import require_one_of

# What the names of the layers that an SSD has not begin with: the fusions and their heads.
FUSION, FUSED = "fusion", "fused"


def is_decoder(layer: keras.layers.Layer) -> bool:
    """Whether a layer is one of DSSD's own and not one that it shares with SSD."""
    return layer.name.startswith((FUSION, FUSED))


@keras.saving.register_keras_serializable("ssd_keras")
class DSSD(SSD):
    """The Box Network of DSSD.

    The pyramid is SSD's, with the same layer names, so that a trained SSD of the same backbone
    loads by name. A decoder goes back from the coarsest map: each step enlarges what it has and
    joins it with the pyramid's map of that size. The coarsest map is predicted from as it is.

    Args:
        decoder_channels: channels of all fused maps.
        fusion: "product" or "sum", element by element, or "skip", a 1x1 convolution over both.
        upsampling: "deconvolution", learned, or "bilinear", the cheaper way.
        separable_decoder: depthwise-separable 3x3 convolutions in the decoder, an eighth of their
            arithmetic; with SSDLite's extra levels and heads that is DSSDLite, which was not
            published by others.
        **ssd: the arguments of `SSD`.

    Source: DSSD paper, arXiv 1701.06659; caffe-dssd.
    """

    stages: ClassVar = {**COMMON_STAGES, "stage1": is_decoder}

    def __init__(
        self,
        *args,
        decoder_channels: int = 512,
        fusion: str = "product",
        upsampling: str = "deconvolution",
        separable_decoder: bool = False,
        **ssd,
    ):
        super().__init__(*args, **ssd)
        require_one_of("fusion", fusion, blocks.FUSIONS)
        require_one_of("upsampling", upsampling, blocks.UPSAMPLINGS)
        self.decoder_channels = decoder_channels
        self.fusion = fusion
        self.upsampling = upsampling
        self.separable_decoder = separable_decoder

    @classmethod
    def settings_for(cls, request: Request) -> dict:
        """The arguments on a Core Network; see `SSD.settings_for`."""
        channels = request.scale_channels(request.core.decoder_channels)
        return {**super().settings_for(request), "decoder_channels": channels}

    def __call__(self, features: dict, image_size: tuple[int, int]) -> dict:
        """Adds the extra levels, the decoder and the heads; see `SSD.__call__`."""
        return self._predictions(self.decode_maps(self.pyramid(features)), image_size, prefix=FUSED)

    def decode_maps(self, pyramid: list) -> list:
        """The decoder's maps, finest first; the last is the pyramid's own."""
        maps = [pyramid[-1]]
        for index in reversed(range(len(pyramid) - 1)):
            fused = blocks.fuse(
                maps[0],
                pyramid[index],
                self.decoder_channels,
                fusion=self.fusion,
                upsampling=self.upsampling,
                activation=self.activation,
                name=f"{FUSION}{index}",
                separable=self.separable_decoder,
            )
            maps.insert(0, fused)
        return maps

    def get_config(self) -> dict:
        """Everything needed to build this box network again."""
        return {
            **super().get_config(),
            "decoder_channels": self.decoder_channels,
            "fusion": self.fusion,
            "upsampling": self.upsampling,
            "separable_decoder": self.separable_decoder,
        }
