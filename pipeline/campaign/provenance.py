"""The licence of a campaign's products, and the citations of its data."""

import re

from pydantic import field_validator

from pipeline.campaign.sections import Name
from pipeline.catalog import Declaration

SPDX = "https://spdx.org/licenses"


class Provenance(Declaration):
    """The licence of a campaign's products, and the citation of each dataset or tokenizer.

    It is part of no task, so it may be written and changed after everything is done.
    """

    licence: str = ""
    cite_as: dict[Name, str] = {}

    @field_validator("licence")
    @classmethod
    def _is_named(cls, value: str) -> str:
        """Check that the licence is an identifier or an address, and no sentence."""
        if re.fullmatch(r"(https?://\S+|[A-Za-z0-9.+-]+)?", value) is None:
            message = f"{value!r}: expected an identifier of {SPDX}, CC-BY-4.0 say, or an address"
            raise ValueError(message)
        return value

    @property
    def licence_address(self) -> str:
        """The address of the licence, empty where none is declared."""
        if not self.licence or self.licence.startswith("http"):
            return self.licence
        return f"{SPDX}/{self.licence}"
