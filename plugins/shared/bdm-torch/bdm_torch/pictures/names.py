"""The names of the built-in triggers and targets, and what parameters say of them. Light: parameters import it."""

from __future__ import annotations

TRIGGER_NAMES = ("checker", "box", "white-box", "stop-sign", "glasses", "blend")
TARGET_NAMES = ("cross", "plus", "corner", "square", "disc", "ring", "hat", "shoe")
TRIGGER = f"Name of a built-in trigger ({', '.join(TRIGGER_NAMES)}), or the path of a .png or .jpg."
TARGET = f"Name of a built-in target ({', '.join(TARGET_NAMES)}), or the path of a .png or .jpg."
