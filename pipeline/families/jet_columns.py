"""The columns that models of jets read: stored in a store, or made of what it stores.

`MOMENTUM` and `OFFSETS` are in physical units. `CHOICES` are Particle Transformer's 17 inputs
"full" (Qu, Li, Qian, arXiv:2202.03772, table 2) and its choices "kinpid" (13) and "kin" (7),
standardised. How they are made: pipeline/data/jet_inputs.py.
"""

from typing import Literal

Choice = Literal["full", "kinpid", "kin"]

MOMENTUM = ("px", "py", "pz", "energy")  # GeV
OFFSETS = ("deta", "dphi", "log_pt", "log_energy")  # of the jet's axis, ln GeV
SPECIES = ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")

KINEMATICS = ("pt_log", "e_log", "logptrel", "logerel", "deltaR")
IDENTITY = ("charge", *(f"is{name}" for name in SPECIES))
IMPACT = ("d0", "d0err_clipped", "dz", "dzerr_clipped")
ANGLES = ("deta", "dphi")
CHOICES: dict[Choice, tuple[str, ...]] = {
    "full": (*KINEMATICS, *IDENTITY, *IMPACT, *ANGLES),
    "kinpid": (*KINEMATICS, *IDENTITY, *ANGLES),
    "kin": (*KINEMATICS, *ANGLES),
}
