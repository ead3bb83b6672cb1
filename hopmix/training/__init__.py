"""What the trained models of the book share: data, how it becomes tokens, and the loop that trains."""

from hopmix.training.digits import digit_patches, patch_embed
from hopmix.training.loop import train
from hopmix.training.photographs import photograph_patches

__all__ = ["digit_patches", "patch_embed", "train", "photograph_patches"]
