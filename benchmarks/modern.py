"""Nets of today with batch normalisation, residuals and depthwise convolutions, beside the peers.

    python benchmarks/modern.py [--nets resnet8 mobilenet_025 dscnn] [--threads 1] [--rounds 3]
                                [--seconds 1.5] [--only train|infer] [--json FILE]

As `peers.py`, whose measurements these are: training with 64 images beside PyTorch, in the faster
of its orders of memory, and Keras, answers to 1 and 64 images beside ONNX Runtime.  Dropout is
there and drops nothing, so that the costs of all peers can be compared.
"""

from __future__ import annotations

import peers
from peers_models import MODERN

if __name__ == "__main__":
    peers.INFERENCE_BATCHES = (1, 64)
    peers.TRAINING_BATCHES = dict.fromkeys(MODERN, (64,))
    peers.main(MODERN, [1], __doc__)
