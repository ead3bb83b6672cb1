"""What the trained models of the book share: data, how it becomes tokens, and the loop that trains."""

from hopmix.training.digits import digit_patches, patch_embed
from hopmix.training.loop import train

__all__ = ["digit_patches", "patch_embed", "train"]
