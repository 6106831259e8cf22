"""What nova, sophia and aurora all need. Imports nothing of theirs."""

import os

# gRPC's newer I/O for clients hands each event from a thread of its own to the one that waits for it. Without
# it a stream costs its client a third less CPU. Read by gRPC when the first channel is made.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client")

# The matrices of a voice detector are small: threads for them would only wait for each other. Read by numpy
# when it is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
