"""aurora moves the face: speech to Audio2Face, animation kept in step with the sound."""
