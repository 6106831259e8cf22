"""The operator's command: up, talk, run, bench."""
