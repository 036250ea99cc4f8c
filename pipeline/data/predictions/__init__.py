"""Predictions of events as a table: parquet that awkward and pandas read, written by parts."""

from pipeline.data.predictions.table import FORMAT, Described, Reader, Table, arrays, read

__all__ = ["FORMAT", "Described", "Reader", "Table", "arrays", "read"]
