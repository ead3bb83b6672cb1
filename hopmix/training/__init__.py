"""What the trained models of the book share: data, and how it becomes tokens."""

from hopmix.training.digits import digit_patches, patch_embed

__all__ = ["digit_patches", "patch_embed"]
