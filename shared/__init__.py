"""What nova, sophia and aurora all need. Imports nothing of theirs."""
