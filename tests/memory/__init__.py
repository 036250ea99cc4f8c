"""Counts of what autograd keeps, from which the tables of `pipeline/families` are made."""
