"""Deep cross-modal hashing on the optional PyTorch backend."""
