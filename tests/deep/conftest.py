"""Settings of PyTorch for the tests of deep methods."""

import pytest


@pytest.fixture(autouse=True)
def convolutions_of_pytorch():
    """Convolutions without oneDNN.

    On processors without AVX-512, the backward pass of oneDNN in PyTorch 2.13 writes outside of its
    arrays where convolutions have two channels, as those of small tests have, and one thread runs.
    """
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with torch.backends.mkldnn.flags(enabled=False):
        yield
