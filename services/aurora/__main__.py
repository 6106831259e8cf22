"""`python -m services.aurora`"""

from __future__ import annotations

from services.aurora.app import create_app
from services.aurora.settings import AuroraSettings
from shared.app import run_service

if __name__ == "__main__":
    run_service("aurora", AuroraSettings, create_app)
