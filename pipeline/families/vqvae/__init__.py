"""VQ-VAE tokenizers: a learned codebook between an encoder and a decoder of constituents."""
