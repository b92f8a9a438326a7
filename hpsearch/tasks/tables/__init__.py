"""Tables as tensors: files are read, rows split, columns encoded."""
