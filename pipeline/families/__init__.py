"""The families of models. A new one is a file here, a file of its module, and a line in `Model`.

A model of the user's own needs neither: family "own" takes one file from anywhere.
"""

from typing import Annotated, get_args

from pydantic import Field

from pipeline.families.deepsets import DeepSets
from pipeline.families.eggnet import EggNet
from pipeline.families.epic import EPiC
from pipeline.families.exatrkx import ExaTrkX
from pipeline.families.family import Family, Parameters, Reads
from pipeline.families.fm4npp import FM4NPPMamba, FM4NPPMamba2
from pipeline.families.graphsage import GraphSAGE
from pipeline.families.mpm import MPM
from pipeline.families.omnijet import OmniJet
from pipeline.families.omnilearned import OmniLearned
from pipeline.families.own import Own
from pipeline.families.parametrisation import Parametrisation
from pipeline.families.part import ParT
from pipeline.families.particlenet import ParticleNet
from pipeline.families.pointgpt import PointGPT
from pipeline.families.polarbert import PolarBERT
from pipeline.families.tokenizers import TOKENIZERS, VQVAE, VQVAEMLP, Binning, Tokenizer

Model = Annotated[
    DeepSets
    | EggNet
    | EPiC
    | ExaTrkX
    | FM4NPPMamba
    | FM4NPPMamba2
    | GraphSAGE
    | MPM
    | OmniJet
    | OmniLearned
    | ParT
    | ParticleNet
    | PointGPT
    | PolarBERT
    | Own,
    Field(discriminator="family"),
]

FAMILIES: dict[str, type[Family]] = {
    each.model_fields["family"].default: each for each in get_args(get_args(Model)[0])
}

__all__ = [
    "FAMILIES",
    "MPM",
    "TOKENIZERS",
    "VQVAE",
    "VQVAEMLP",
    "Binning",
    "DeepSets",
    "EPiC",
    "EggNet",
    "ExaTrkX",
    "FM4NPPMamba",
    "FM4NPPMamba2",
    "Family",
    "GraphSAGE",
    "Model",
    "OmniJet",
    "OmniLearned",
    "Own",
    "ParT",
    "Parameters",
    "Parametrisation",
    "ParticleNet",
    "PointGPT",
    "PolarBERT",
    "Reads",
    "Tokenizer",
]
