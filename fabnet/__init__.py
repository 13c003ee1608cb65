"""FAb-Net and its relatives in plain PyTorch: frames in, embeddings out. No paths, no files."""
