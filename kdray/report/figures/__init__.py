"""Figures in one style, with captions that say of what they are."""
