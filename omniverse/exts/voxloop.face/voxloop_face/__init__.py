"""Voxloop's face in Omniverse. Kit loads `extension`; the other modules need pxr and aiohttp only."""
