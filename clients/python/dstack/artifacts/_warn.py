"""Warnings that point at the caller's line, not at ours."""

from __future__ import annotations

import sys
import warnings


def warn(message: str) -> None:
    """Warns the caller of the package."""
    depth = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("dstack.artifacts"):
        frame = frame.f_back
        depth += 1
    warnings.warn(message, stacklevel=depth + 1)
