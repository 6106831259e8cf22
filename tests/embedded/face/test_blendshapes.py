from __future__ import annotations

import numpy as np

from embedded.face.blendshapes import ARTICULATORS, CLOSE, INDEX, JAW, NAMES, pose, speak


def test_the_names_are_arkits_52_as_audio2face_writes_them() -> None:
    assert len(NAMES) == len(set(NAMES)) == 52
    assert all(name[0].isupper() for name in NAMES)
    assert {"EyeBlinkLeft", "JawOpen", "MouthClose", "TongueOut"} <= set(NAMES)


def test_a_pose_sets_both_sides_of_a_pair_and_single_shapes_alone() -> None:
    weights = pose(MouthSmile=0.5, JawOpen=0.25)
    assert weights[INDEX["MouthSmileLeft"]] == weights[INDEX["MouthSmileRight"]] == 0.5
    assert weights[INDEX["JawOpen"]] == 0.25
    assert np.count_nonzero(weights) == 3


def test_an_idle_mouth_is_neutral() -> None:
    assert not speak(np.zeros((3, len(ARTICULATORS)), np.float32)).any()


def test_closed_lips_win_over_an_open_jaw() -> None:
    open_only = np.zeros((1, len(ARTICULATORS)), np.float32)
    open_only[0, JAW] = 1
    both = open_only.copy()
    both[0, CLOSE] = 1
    assert speak(both)[0, INDEX["JawOpen"]] < 0.15 * speak(open_only)[0, INDEX["JawOpen"]]
    assert speak(both)[0, INDEX["MouthPressLeft"]] > 0.3
