"""A family of models that a test plants: points one by one."""
