"""Backbones and heads: plain modules that take packed batches of events."""
