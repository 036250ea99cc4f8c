"""The one error of everything that cannot be read as it is."""


class BadInput(ValueError):  # noqa: N818  # it names a condition, as Exit.BAD_INPUT does
    """An input file or store is not usable; the message names it, the fault and the way out."""

    outcome = "bad_input"
