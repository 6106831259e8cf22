"""A face server that speaks Audio2Face-3D's protocol and computes ARKit-52 from the sound with numpy."""
