"""sophia listens and speaks: the streaming ASR → LLM → TTS voice loop."""
