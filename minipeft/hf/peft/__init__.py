"""Adaptations of PEFT: folders, read and written, and its forward pass."""
