"""Which frame is shown when: the sound's clock decides."""

from __future__ import annotations

from tests.web.conftest import Visit

FACE = """
let position = null, now = 1000;
const face = new it.Face(() => position);
face.state = "speaking";
face.header(["JawOpen", "MouthClose"]);
const jaw = (ms) => {
  for (let step = 0; step < ms; step += 10) face.weights(now += 10);
  return face.weights(now).JawOpen ?? 0;
};
"""


async def jaws(guest: Visit, use: str) -> list[float]:
    values = await guest.module("face.js", FACE + use)
    assert isinstance(values, list)
    return [round(value, 2) for value in values]


async def test_the_frame_of_the_present_moment_is_shown(guest: Visit) -> None:
    assert await jaws(
        guest,
        """
        for (const [t, open] of [[0, 0.2], [100, 0.6], [200, 0.4]]) face.frame(t, [open, 0]);
        position = 0; const first = jaw(100);
        position = 150; const between = jaw(100);
        position = 200; return [first, between, jaw(100)];
        """,
    ) == [0.2, 0.5, 0.4]


async def test_a_frame_that_came_too_late_is_never_shown(guest: Visit) -> None:
    assert await jaws(
        guest,
        """
        position = 500;
        face.frame(100, [1, 0]);
        const late = jaw(50);
        face.frame(480, [0.3, 0]);
        return [late, jaw(100), face.waiting];
        """,
    ) == [0, 0.3, 1]


async def test_without_frames_the_mouth_eases_shut(guest: Visit) -> None:
    opened, soon, later = await jaws(
        guest,
        """
        position = 0;
        face.frame(0, [0.8, 0]);
        const opened = jaw(100);
        face.drop();
        return [opened, jaw(20), jaw(100)];
        """,
    )
    assert opened > soon > opened / 2  # it does not snap
    assert later <= opened / 20  # 120 ms after the interruption


async def test_a_sound_that_stands_still_does_not_hold_the_mouth_open(guest: Visit) -> None:
    assert await jaws(
        guest,
        """
        position = 0;
        face.frame(0, [0.8, 0]);
        face.frame(33, [0.8, 0]);
        return [jaw(100), jaw(1000)];
        """,
    ) == [0.8, 0]


async def test_frames_wait_for_their_sound(guest: Visit) -> None:
    assert await jaws(
        guest,
        """
        face.frame(0, [0.8, 0]);
        face.frame(33, [0.8, 0]);
        const silent = jaw(500);
        position = 10;
        return [silent, jaw(100)];
        """,
    ) == [0, 0.8]


async def test_what_is_kept_is_bounded(guest: Visit) -> None:
    assert await jaws(
        guest, "for (let t = 0; t < 5000; t++) face.frame(t, [0, 0]); return [face.waiting];"
    ) == [900]


async def test_between_replies_it_blinks_and_looks_about_with_both_eyes(guest: Visit) -> None:
    lids, looks, together = await guest.module(
        "face.js",
        FACE
        + """
        face.state = "listening";
        let lids = 0;
        const looks = new Set(), apart = [];
        for (let step = 0; step < 1000; step++) {
          const shown = face.weights(now += 33);
          lids = Math.max(lids, shown.EyeBlinkLeft);
          const side = shown.EyeLookOutLeft ?? 0;
          looks.add(side.toFixed(2));
          apart.push(Math.abs(side - (shown.EyeLookInRight ?? 0)));
        }
        return [lids, looks.size, Math.max(...apart)];
        """,
    )
    assert lids > 0.8
    assert looks > 3
    assert together == 0
