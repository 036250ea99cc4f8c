"""The VQ-VAE whose codes masked particle modelling learns."""
