"""Sessions as files: what readers of USD, WAV and CSV find in them is what the caller was shown."""

from __future__ import annotations

import asyncio
import csv
import resource
import sys
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import numpy as np
import pytest
from prometheus_client import REGISTRY
from pxr import Gf, Usd, UsdGeom, UsdMedia, UsdSkel

from services.aurora import recorder as module
from services.aurora.app import create_app
from services.aurora.recorder import Recorder
from services.aurora.settings import AuroraSettings
from services.aurora.usd import ANIMATION, FACE, SKELETON, VOICE
from shared.errors import StartupError
from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraStub
from tests.fixtures import face
from tests.fixtures.face import Audio2FaceServer, aurora_server
from tests.services.aurora.conftest import END, Request, Shown, animate, audio, start

if TYPE_CHECKING:  # the stubs know the kind for asyncio, the module does not
    from shared.wire.aurora.v1.aurora_pb2_grpc import AuroraAsyncStub

SPEECH = face.silence(0.2) + face.vowel(0.6) + face.hum(0.2) + face.vowel(0.5)
NAMES = tuple(f"Shape{number}" for number in range(52))


@contextmanager
def recording(tmp_path: Path, audio2face: Audio2FaceServer, **settings: str) -> Iterator[Any]:
    settings = {"record": str(tmp_path / "takes"), "record_formats": "usd,csv"} | settings
    with aurora_server(tmp_path, audio2face.target, **settings) as server:
        yield server


def files(tmp_path: Path, suffix: str) -> list[Path]:
    return sorted((tmp_path / "takes").glob(f"*{suffix}"))


def samples_of(stage: Usd.Stage) -> tuple[list[float], list[list[float]]]:
    """Seconds and weights."""
    weights = UsdSkel.Animation.Get(stage, ANIMATION).GetBlendShapeWeightsAttr()
    codes = weights.GetTimeSamples()
    return [code / stage.GetTimeCodesPerSecond() for code in codes], [list(weights.Get(c)) for c in codes]


def sound_of(path: Path) -> tuple[int, bytes]:
    with wave.open(str(path)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth()) == (1, 2)
        return wav.getframerate(), wav.readframes(wav.getnframes())


async def turns(target: str, *requests: list[Request]) -> list[Shown]:
    async with grpc.aio.insecure_channel(target) as channel:
        stub: AuroraAsyncStub = AuroraStub(channel)
        return [await animate(stub, turn) for turn in requests]


async def test_what_was_shown_and_heard_is_in_the_usd_and_its_wav(
    tmp_path: Path, audio2face: Audio2FaceServer
) -> None:
    second = face.vowel(0.5, 22050)
    with recording(tmp_path, audio2face) as server:
        first, other = await turns(
            server.target,
            [start(22050, "s/../1", 1), *audio(face.vowel(1.0, 22050), 3000), END],
            [start(22050, "s/../1", 2), *audio(second), END],
        )
    (usd,), (wav,) = files(tmp_path, ".usdc"), files(tmp_path, ".wav")
    assert usd.stem == wav.stem
    assert usd.stem.endswith("-s____1")
    assert sound_of(wav) == (22050, face.vowel(1.0, 22050) + second)

    stage = Usd.Stage.Open(str(usd))
    times, weights = samples_of(stage)
    expected = [t / 1000 for t in first.times_ms] + [1 + t / 1000 for t in other.times_ms]
    assert times == pytest.approx(expected)
    assert np.allclose(weights, first.weights + other.weights, atol=1e-6)
    assert list(UsdSkel.Animation.Get(stage, ANIMATION).GetBlendShapesAttr().Get()) == first.names
    assert stage.GetTimeCodesPerSecond() == 30
    assert stage.GetEndTimeCode() == pytest.approx(45)

    voice = UsdMedia.SpatialAudio.Get(stage, VOICE)
    assert Path(voice.GetFilePathAttr().Get().resolvedPath) == wav
    assert voice.GetStartTimeAttr().Get().GetValue() == 0
    assert voice.GetEndTimeAttr().Get().GetValue() == pytest.approx(45)

    with files(tmp_path, ".csv")[0].open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["time_s", "turn", *first.names]
    assert [float(row[0]) for row in rows] == pytest.approx(times, abs=1e-6)
    assert [row[1] for row in rows] == ["1"] * 30 + ["2"] * 15
    assert np.allclose([[float(cell) for cell in row[2:]] for row in rows], weights, atol=1e-6)


async def test_a_skinned_mesh_moves_with_the_recording(tmp_path: Path, audio2face: Audio2FaceServer) -> None:
    with recording(tmp_path, audio2face) as server:
        (shown,) = await turns(server.target, [start(), *audio(SPEECH), END])
    stage = Usd.Stage.CreateInMemory()
    stage.SetTimeCodesPerSecond(30)  # or USD would convert the recording's times
    stage.GetRootLayer().subLayerPaths.append(str(files(tmp_path, ".usdc")[0]))
    mesh = UsdGeom.Mesh.Define(stage, f"{FACE}/Chin")
    mesh.CreatePointsAttr([(0, 0, 0), (1, 0, 0), (0, 1, 0)])
    mesh.CreateFaceVertexCountsAttr([3])
    mesh.CreateFaceVertexIndicesAttr([0, 1, 2])
    shape = UsdSkel.BlendShape.Define(stage, f"{FACE}/Chin/JawOpen")
    shape.CreateOffsetsAttr([(0, -2, 0)])
    shape.CreatePointIndicesAttr([0])
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets([SKELETON])
    binding.CreateBlendShapesAttr(["JawOpen"])
    binding.CreateBlendShapeTargetsRel().SetTargets([shape.GetPath()])
    jaw = shown.shape("JawOpen")
    assert UsdSkel.BakeSkinning(UsdSkel.Root.Get(stage, FACE), Gf.Interval(0, len(jaw) - 1))
    heights = [mesh.GetPointsAttr().Get(code)[0][1] for code in range(len(jaw))]
    assert max(jaw) > 0.2
    assert heights == pytest.approx([-2 * weight for weight in jaw], abs=1e-4)


async def test_of_a_cancelled_turn_what_was_seen_is_recorded(
    tmp_path: Path, audio2face: Audio2FaceServer
) -> None:
    with recording(tmp_path, audio2face, record_formats="usd") as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            stub: AuroraAsyncStub = AuroraStub(channel)
            call = stub.Animate(timeout=30)
            for request in [start(session="cut"), *audio(face.vowel(2))]:
                await call.write(request)
            seen = [(await call.read()).WhichOneof("part") for _ in range(11)]
            call.cancel()
            await server.metrics.becomes(lambda m: m.value("voxloop_aurora_active_turns") == 0)
    assert seen == ["header", *["frame"] * 10]
    rate, pcm = sound_of(files(tmp_path, ".wav")[0])
    times, _ = samples_of(Usd.Stage.Open(str(files(tmp_path, ".usdc")[0])))
    assert len(times) >= 10
    assert len(pcm) / 2 / rate == pytest.approx(times[-1] + 1 / 30, abs=1e-3)
    assert face.vowel(2).startswith(pcm)
    assert not files(tmp_path, ".csv")


async def test_a_folder_that_cannot_be_written_costs_the_recording_alone(
    tmp_path: Path, audio2face: Audio2FaceServer
) -> None:
    (tmp_path / "file").touch()
    with recording(tmp_path, audio2face, record=str(tmp_path / "file" / "takes")) as server:
        shown = await turns(server.target, *[[start(turn=n), *audio(SPEECH), END] for n in range(3)])
        await server.metrics.becomes(lambda m: m.value("voxloop_aurora_recording_faults_total") == 3)
    assert [turn.done for turn in shown] == [45] * 3
    assert (tmp_path / "aurora.log").read_text().count("cannot record") == 1


def faults() -> float:
    return REGISTRY.get_sample_value("voxloop_aurora_recording_faults_total") or 0.0


async def speak(recorder: Recorder, session: str = "s", seconds: int = 1, rate: int = 16000) -> None:
    with recorder.turn(session, 1, rate) as turn:
        turn.header(NAMES, 30)
        for second in range(seconds):
            turn.sound(face.vowel(1, rate))
            for number in range(30):
                turn.frame(second + number / 30, [number / (30 + shape) for shape in range(52)])


@pytest.mark.parametrize("formats", [("usd",), ("csv",)])
async def test_a_full_disk_is_counted_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, formats: tuple[Any, ...]
) -> None:
    """A limit on the size of files fails as a full disk does: in the middle of a write."""
    before = faults()
    recorder = Recorder(tmp_path / "takes", formats)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        for _ in range(3):
            await speak(recorder, rate=1000)
        await recorder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert faults() == before + 3, caplog.text
    assert caplog.text.count("cannot record") == 1
    recorder = Recorder(tmp_path / "takes", formats)
    await speak(recorder, "after")
    await recorder.close()
    assert len(sound_of(files(tmp_path, "-after.wav")[0])[1]) == 32000
    assert len(files(tmp_path, f"-after.{formats[0]}*")) == 1


async def test_a_long_turn_is_written_in_pieces_that_join(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "takes", ("usd",))
    await speak(recorder, seconds=12)
    await recorder.close()
    times, _ = samples_of(Usd.Stage.Open(str(files(tmp_path, ".usdc")[0])))
    assert times == pytest.approx([number / 30 for number in range(360)])
    assert sound_of(files(tmp_path, ".wav")[0])[1] == face.vowel(1) * 12


async def test_another_rate_and_too_much_sound_begin_a_new_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TAKE_S", 2.0)
    recorder = Recorder(tmp_path / "takes", ("csv",))
    for seconds, rate in ((1, 16000), (1, 8000), (2, 8000), (1, 8000)):
        await speak(recorder, seconds=seconds, rate=rate)
    await recorder.close()
    assert sorted(len(sound_of(path)[1]) for path in files(tmp_path, ".wav")) == [16000, 32000, 48000]


async def test_no_more_recordings_are_open_than_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TAKES", 2)
    recorder = Recorder(tmp_path / "takes", ("csv",))
    for session in "abacb":
        await speak(recorder, session)
    await recorder.close()
    # Named by the second: where b is recorded again in the same one it is b-2.
    taken = sorted((path.stem.split("Z-")[1][0], len(sound_of(path)[1])) for path in files(tmp_path, ".wav"))
    assert taken == [("a", 64000), ("b", 32000), ("b", 32000), ("c", 32000)]


async def test_a_disk_that_hangs_costs_pieces_and_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "WAITING", 1)
    monkeypatch.setattr(module, "CLOSE_S", 0.05)
    before = faults()
    recorder = Recorder(tmp_path / "takes", ("csv",))
    hung = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(*_: object) -> None:
        loop.call_soon_threadsafe(hung.set)
        never.wait()
        raise OSError("the disk is gone")

    never = threading.Event()
    monkeypatch.setattr(recorder, "_write", hang)
    await speak(recorder)
    await hung.wait()
    for _ in range(5):
        await speak(recorder)
    assert faults() == before + 4
    await recorder.close()
    assert caplog.text.count("too slow") == 1
    never.set()


def test_usd_without_usd_core_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(StartupError, match=r"voxloop\[record\]"):
        create_app(AuroraSettings(record=tmp_path))


def test_a_turn_without_frames_is_not_recorded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "takes", ("csv",))
    with recorder.turn("s", 1, 16000) as turn:
        turn.sound(face.vowel(1))
    asyncio.run(recorder.close())
    assert not (tmp_path / "takes").exists()


async def test_without_frames_to_come_the_sound_alone_is_recorded_to_where_the_turn_ended(
    tmp_path: Path,
) -> None:
    recorder = Recorder(tmp_path / "takes", ())
    for session, ends in (("whole", None), ("cut", asyncio.CancelledError)):
        with suppress(asyncio.CancelledError), recorder.turn(session, 1, 16000) as turn:
            for _ in range(12):
                turn.sound(face.vowel(1))
            if ends:
                raise ends
    await recorder.close()
    for session in ("whole", "cut"):
        assert sound_of(files(tmp_path, f"-{session}.wav")[0]) == (16000, face.vowel(1) * 12)
    assert len(files(tmp_path, "")) == 2
