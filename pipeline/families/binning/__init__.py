"""Tokenizer by bins: equal bins of each feature of a constituent."""
