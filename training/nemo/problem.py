"""What ends a step: something that its caller gave it, said in one line."""


class Problem(Exception):
    """The message says what was wrong and where."""
