"""`python -m services.nova`"""

from __future__ import annotations

from services.nova.app import create_app
from services.nova.settings import NovaSettings
from shared.app import run_service

if __name__ == "__main__":
    run_service("nova", NovaSettings, create_app)
