"""The page of a conversation: whole, alone, and free of words that nobody asked for."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from shared.errors import InputError
from voxloop import trace
from voxloop.turn_marks import Outcome, TurnMarks

HOSTILE = "</dd><script>alert('x')</script><img src=x onerror=\"y\">&amp;"


def turn(number: int = 1) -> TurnMarks:
    made = TurnMarks(number, question=HOSTILE, answer=HOSTILE[::-1] + HOSTILE)
    made.tell_stages({"speech_end_to_final": 300, "llm_first_token": 100, f'"><b>{HOSTILE}': 20})
    made.audio(120, 1000)
    made.frame(130, 0)
    made.end(900, Outcome.DONE)
    return made


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def bars(self) -> list[tuple[float, float]]:
        return [(float(a["x"] or 0), float(a["width"] or 0)) for tag, a in self.tags if tag == "rect"]


def test_every_turn_is_on_it_and_it_needs_nothing_else() -> None:
    text = trace.page([turn(1), turn(2)])
    page = Page(text)
    assert page.open == []
    assert "turn 1: 420 ms" in page.text
    assert "turn 2: 420 ms" in page.text
    assert "A conversation of 2 turns" in page.text
    assert "://" not in text
    names = {name for _, attributes in page.tags for name in attributes}
    assert not names & {"src", "href", "style"}
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text


def test_bars_are_in_proportion_and_tell_their_times() -> None:
    page = Page(trace.page([turn()]))
    assert page.bars()[:3] == [
        (0.0, pytest.approx(1000 * 300 / 420, abs=0.01)),
        (pytest.approx(1000 * 300 / 420, abs=0.01), pytest.approx(1000 * 100 / 420, abs=0.01)),
        (pytest.approx(1000 * 400 / 420, abs=0.01), pytest.approx(1000 * 20 / 420, abs=0.01)),
    ]
    assert "first token: 100 ms, from 300 ms to 400 ms" in page.text
    assert all(x >= 0 and x + width <= 1000.01 for x, width in page.bars())


def test_no_word_is_on_it_unless_asked_for() -> None:
    secret = TurnMarks(1, question="my pin is 1234", answer="I keep 1234 to myself")
    assert "1234" not in trace.page([secret])
    assert "my pin is 1234" in Page(trace.page([secret], words=True)).text


def test_hostile_words_and_names_stay_text() -> None:
    page = Page(trace.page([turn()], words=True))
    assert not {tag for tag, _ in page.tags} & {"script", "img", "b"}
    assert HOSTILE in page.text


def test_a_conversation_without_a_turn_is_a_page_too() -> None:
    assert "0 turns" in Page(trace.page([])).text


def test_a_page_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        trace.write(tmp_path / "nowhere" / "a.html", [turn()])
