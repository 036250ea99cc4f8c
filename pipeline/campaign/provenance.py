"""What others may do with the products of a campaign, and whom they cite for its data."""

from typing import Annotated

from pydantic import Field

from pipeline.campaign.sections import Name
from pipeline.catalog import Declaration

# An SPDX identifier (https://spdx.org/licenses), or an address.
Licence = Annotated[str, Field(pattern=r"^(https?://\S+|[A-Za-z0-9.+-]+)$")]


class Provenance(Declaration):
    """The licence of what a campaign makes, and the citation of each dataset or tokenizer.

    It enters no task, so that it may be written and changed when everything is done.
    """

    licence: Licence | None = None
    cite_as: dict[Name, str] = {}

    @property
    def licence_address(self) -> str:
        """The address of the licence, empty where none is declared."""
        if self.licence is None or self.licence.startswith("http"):
            return self.licence or ""
        return f"https://spdx.org/licenses/{self.licence}"
