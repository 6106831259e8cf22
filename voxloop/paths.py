"""Where things are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
QUESTION = ROOT / "samples" / "question.wav"
"""What is asked where nobody has a question of their own."""
