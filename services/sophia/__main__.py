"""`python -m services.sophia`"""

from __future__ import annotations

from services.sophia.app import create_app
from services.sophia.settings import SophiaSettings
from shared.app import run_service

if __name__ == "__main__":
    run_service("sophia", SophiaSettings, create_app)
