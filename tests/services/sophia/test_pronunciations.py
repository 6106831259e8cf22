"""Words that are spoken in a deployment's own way, from the file to the sound."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from services.sophia import pronunciations
from services.sophia.riva import Riva, at_speed
from shared.channels import Endpoint
from shared.errors import PeerRefused, SettingsError
from tests.fixtures.speech import RivaServer
from tests.services.sophia.conftest import served
from tests.services.sophia.engines import Scripted


def written(folder: Path, text: str) -> Path:
    path = folder / "words.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_becomes_rivas_dictionary(tmp_path: Path) -> None:
    path = written(tmp_path, "# ours\nVoxloop  ˈvɑkslup\n\nNVIDIA    {@EH0}{@N}\n")
    assert pronunciations.load(path) == "Voxloop  ˈvɑkslup,NVIDIA  {@EH0}{@N}"
    assert pronunciations.load(None) == ""


@pytest.mark.parametrize("line", ["Voxloop", "Voxloop vɑks", "  vɑks", "Voxloop  ", "a,b  vɑks", "a  v,b"])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingsError, match="line 2 of"):
        pronunciations.load(written(tmp_path, f"good  ɡʊd\n{line}\n"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        pronunciations.load(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SettingsError, match="no text"):
        pronunciations.load(tmp_path / "binary")


async def test_every_request_carries_it(engines: Scripted, tmp_path: Path) -> None:
    path = written(tmp_path, "Voxloop  ˈvɑkslup\n")
    async with served(engines, pronunciations=path) as sophia, sophia.session(speed=0.5) as client:
        await client.send(type="text", text="hello")
        await client.until("reply.done")
    assert engines.synthesis.dictionary == "Voxloop  ˈvɑkslup"
    assert engines.synthesis.spoken == ['<speak><prosody rate="50%">Hello there.</prosody></speak>']


def trial(server: RivaServer, *entries: str) -> tuple[pronunciations.Trial, list[str]]:
    """A trial by the embedded voice, and what it tried so far."""
    tried: list[str] = []

    def open_riva(dictionary: str) -> Riva:
        tried.append(dictionary)
        return Riva(Endpoint("riva", server.uri, use_tls=True, ca=server.ca), 20, dictionary)

    return pronunciations.Trial(",".join(entries), open_riva), tried


async def test_a_voice_that_knows_every_symbol_is_asked_once(riva: RivaServer) -> None:
    good, tried = trial(riva, "tomato  kæt", "NVIDIA  {@EH0}{@N}")
    await good.probe()
    await good.probe()
    assert tried == ["tomato  kæt,NVIDIA  {@EH0}{@N}"]


async def test_entries_that_the_voice_does_not_know_are_named(riva: RivaServer) -> None:
    entries = [f"{letter}word  kæt" for letter in "abcdefghijklmnopqrstuvwxyz"]
    entries[3], entries[20] = "tomato  %", "NVIDIA  {@QQ}"
    bad, tried = trial(riva, *entries)
    with pytest.raises(SettingsError) as refused:
        await bad.probe()
    assert str(refused.value).endswith("the symbols of `tomato  %`, `NVIDIA  {@QQ}`")
    asked = len(tried)
    with pytest.raises(SettingsError):
        await bad.probe()
    assert len(tried) == asked, "it is known by now"


async def test_a_word_that_the_voice_refuses_without_its_entry_as_well_is_not_blamed_on_it(
    riva: RivaServer,
) -> None:
    await trial(riva, "tomato  kæt", "<speak><break time='soon'/></speak>  kæt")[0].probe()


async def test_sophia_is_ready_once_the_voice_knows_every_entry(
    engines: Scripted, riva: RivaServer, tmp_path: Path
) -> None:
    path = written(tmp_path, "Voxloop  ˈvɑkslup\ntomato  %\n")
    async with served(engines, pronunciations=path) as sophia, httpx.AsyncClient() as http:
        readiness = await http.get(f"http://{sophia.address}/readyz")
        assert readiness.status_code == 200, "the scripted voice knows all symbols"
    real = {"riva_uri": riva.uri, "riva_tls": True, "riva_ca": riva.ca}
    async with served(engines, pronunciations=path, **real) as sophia, httpx.AsyncClient() as http:
        readiness = await http.get(f"http://{sophia.address}/readyz")
    assert readiness.status_code == 503
    assert "`tomato  %`" in readiness.json()["dependencies"]["pronunciations"]["error"]


async def spoken(
    server: RivaServer, text: str, dictionary: str = "", speed: float = 1.0
) -> tuple[bytes, list[str]]:
    """By the embedded server: the sound, and the words whose times came with it."""
    riva = Riva(Endpoint("riva", server.uri, use_tls=True, ca=server.ca), 20, dictionary)
    try:
        pieces = [piece async for piece in riva.synthesize(text, "en-US", "", 16000, speed)]
    finally:
        await riva.close()
    return b"".join(piece.pcm for piece in pieces), [word.word for piece in pieces for word in piece.words]


async def test_the_embedded_voice_speaks_a_word_as_it_is_told(riva: RivaServer) -> None:
    plain, words = await spoken(riva, "Say tomato now.")
    told, told_words = await spoken(riva, "Say tomato now.", "tomato  kæt")
    cat, _ = await spoken(riva, "Say cat now.")
    assert words == told_words == ["Say", "tomato", "now"]
    assert len(told) < len(plain)
    assert abs(len(told) - len(cat)) < 16000 * 2 // 5, "as long as the word that those phonemes are"
    with pytest.raises(PeerRefused, match="IPA"):
        await spoken(riva, "Say tomato now.", "tomato  %")


async def test_the_embedded_voice_speaks_at_the_speed_that_is_asked_for(riva: RivaServer) -> None:
    text = "Tom & Jerry said 1 < 2 to everybody."
    plain, words = await spoken(riva, text)
    fast, fast_words = await spoken(riva, text, speed=2.0)
    assert fast_words == words
    assert len(fast) < 0.75 * len(plain)


def test_ssml_keeps_every_sign() -> None:
    assert at_speed("</prosody> & <b>", 0.25) == (
        '<speak><prosody rate="25%">&lt;/prosody&gt; &amp; &lt;b&gt;</prosody></speak>'
    )
