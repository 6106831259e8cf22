"""nova-mini asked through nova and the embedded Triton, with few of the questions."""

from __future__ import annotations

import pytest

from shared.errors import StartupError
from shared.process import free_port
from voxloop.bench import model


def test_the_figures_are_those_of_the_served_model() -> None:
    report = model.run(every=40)
    shares = ("exact_in_domain", "recall_exact", "german_exact", "honest_out_of_domain")
    assert set(report.figures) == {*shares, "size_mb", "first_token_ms"}
    assert all((report.figures[name] or 0) >= 0.8 for name in shares)
    assert 0 < (report.figures["size_mb"] or 0) < 12
    assert len(report.rows) > 10


def test_an_evaluation_that_fails_says_why() -> None:
    with pytest.raises(StartupError, match=r"the evaluation failed: .*Connection refused"):
        model._evaluate(f"http://127.0.0.1:{free_port()}", 40)
