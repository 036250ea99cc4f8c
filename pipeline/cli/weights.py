"""The verbs for weights: in from their authors, out under their names or as a graph of ONNX."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import completion
from pipeline.cli.screen import fail, out

app = typer.Typer(
    no_args_is_help=True, help="Published weights: import them, and export ours, also to ONNX."
)
CONVERT = (sys.executable, "-m", "pipeline.training.programs.convert")
ONNX = (sys.executable, "-m", "pipeline.training.programs.to_onnx")


@app.command("import")
def weights_import(
    family: Annotated[
        str,
        typer.Argument(
            help="The family that they are of: see `models`.", autocompletion=completion.families
        ),
    ],
    file: Annotated[
        Path,
        typer.Argument(help="The authors' .pt, .ckpt or .safetensors; or a folder of them."),
    ],
    to: Annotated[Path, typer.Option("--to", help="The folder to write; new or empty.")],
    size: Annotated[
        str, typer.Option(help="Their size, where shapes do not say it: see `models`.")
    ] = "",
    model: Annotated[
        Path | None, typer.Option(help="A TOML file whose [model] declares the model.")
    ] = None,
    trained_on: Annotated[
        list[str] | None,
        typer.Option(metavar="STORE:SPLIT", help="What they were trained on, if staged."),
    ] = None,
) -> None:
    """Import weights that authors published, to start from with `[models.x] weights = "FOLDER"`.

    No code in the file is run. With --trained-on, tests on the same events are refused.

    Example: `cosmotron weights import particlenet ParticleNet_full.pt --to particlenet-full/`
    """
    words = ["import", family, str(file), str(to)]
    words += ["--size", size] if size else []
    words += [word for each in trained_on or () for word in ("--trained-on", each)]
    _run([*words, *(["--model", str(model)] if model else [])])


@app.command("export")
def weights_export(
    folder: Annotated[Path, typer.Argument(help="A folder of `export` or `weights import`.")],
    to: Annotated[Path, typer.Option("--to", help="The file to write: .safetensors, .pt, .ckpt.")],
) -> None:
    """Write the weights of a model under the authors' names, so that their code takes them.

    Example: `cosmotron weights export particlenet/ --to ParticleNet.pt`
    """
    _run(["export", str(folder), str(to)])


@app.command("onnx")
def weights_onnx(
    folder: Annotated[Path, typer.Argument(help="A folder of `export` or `weights import`.")],
    events: Annotated[
        Path, typer.Argument(help="A store, or a file as the model was trained on: to try it.")
    ],
    to: Annotated[Path, typer.Option("--to", help="The file to write.")],
    split: Annotated[str, typer.Option(help="The split of the store to take events of.")] = "test",
    store: Annotated[
        Path | None, typer.Option(help="A store that has the detector's tables, if it reads some.")
    ] = None,
) -> None:
    """Write a model as a graph of ONNX, which other programs run without torch.

    It takes one event a call, of any number of points, in physical units. Nothing is written unless
    ONNX Runtime computes with it what the model does. Not every family has a graph: docs/python.md.

    Example: `cosmotron weights onnx m0/ events.root --to m0.onnx`
    """
    words = [str(folder), str(events), str(to), "--split", split]
    _run([*words, *(["--store", str(store)] if store else [])], ONNX)


def _run(words: list[str], program: tuple[str, ...] = CONVERT) -> None:
    """Run a program of the torch side, which a login node need not import."""
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        fail(done.stderr.strip(), done.returncode)
    out.print(done.stdout.strip(), highlight=False, markup=False, soft_wrap=True)
