"""The verb models: families and tokenizers in each size, with parameters and FLOPs."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipeline.catalog import DeclarationError
from pipeline.cli import completion
from pipeline.cli.screen import AsJson, out

if TYPE_CHECKING:
    from pipeline.families import Family


def models(
    family: Annotated[
        str,
        typer.Argument(
            help="One family; default: all.",
            autocompletion=completion.families,
        ),
    ] = "",
    tokens: Annotated[
        float | None,
        typer.Option(min=1, help="Tokens per event; default: those of each family's own data."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List every family and size: parameters, training FLOPs per token, what it is held to.

    Of one family it shows the published recipes, too: how its authors trained it.

    Example: `cosmotron models fm4npp-mamba2`
    """
    from pipeline.families import FAMILIES, TOKENIZERS

    known = FAMILIES | TOKENIZERS
    if family and family not in known:
        message = f"No family named {family!r}. Known: {', '.join(known)}."
        raise DeclarationError(message)
    chosen = {family: known[family]} if family else known
    rows = [row for each in chosen.values() for row in rows_of(each, tokens)]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for name, each in chosen.items():
        _print(name, each, [row for row in rows if row["family"] == name])
        if family:
            _print_recipes(each)


def rows_of(family: "type[Family]", tokens: float | None = None) -> list[dict[str, Any]]:
    """Return each published size of `family` with its cost, for events of `tokens` tokens."""
    length = tokens or family.TOKENS
    rows = []
    for size in family.SIZES:
        model = family.model_validate({"size": size})
        parameters = model.parameters()
        rows.append(
            {
                "family": family.model_fields["family"].default,
                "size": size,
                "trained": parameters.trained if parameters else None,
                "frozen": parameters.frozen if parameters else None,
                "tokens_per_event": length,
                "flops_per_token": model.flops_per_token(length),
                "held_to": family.HELD_TO or None,
                "recipes": {
                    stage: dataclasses.asdict(recipe) for stage, recipe in family.recipes().items()
                },
            }
        )
    return rows


def _print(name: str, family: "type[Family]", rows: list[dict[str, Any]]) -> None:
    """Print the sizes of one family under its name, its source and what holds it to that."""
    about = f"{family.SOURCE}; {family.fidelity()}"
    out.print(f"[bold]{name}[/]  {family.TITLE}  [dim]{about}[/]", highlight=False)
    if not rows:
        return
    per_token = f"FLOPs per token, at {rows[0]['tokens_per_event']:g}"
    table = Table("size", box=None, pad_edge=False)
    for title in ("trained", "frozen", per_token):
        table.add_column(title, justify="right")
    for row in rows:
        counts = (f"{row[key]:,}" for key in ("trained", "frozen"))
        table.add_row(row["size"], *counts, f"{row['flops_per_token']:.3g}")
    out.print(table)


def _print_recipes(family: "type[Family]") -> None:
    """Print how the authors trained the family, and what a training here cannot follow."""
    for stage, recipe in family.recipes().items():
        out.print(f"\n[bold]{stage}[/], as published  [dim]{recipe.source}[/]", highlight=False)
        out.print(f"  {', '.join(recipe.facts())}", highlight=False, soft_wrap=True)
        for line in recipe.differs:
            out.print(f"  [dim]differs:[/] {line}", highlight=False, soft_wrap=True)
