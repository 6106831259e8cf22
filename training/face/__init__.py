"""The network of the embedded face: what the lips, the jaw and the tongue do, from sound alone.

    sentences (texts) → espeak-ng and flite, with the times of their phones (voxloop/bench/face_voices)
    → worn as rooms, microphones and codecs do (wear) → log-mel and articulators (corpus) → training (fit)
    → embedded/face/network.npz

`python -m training.face` does all of it in some minutes of one core; see __main__.py.
"""
