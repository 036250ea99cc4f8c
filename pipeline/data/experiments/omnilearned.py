"""OmniLearned's HDF5 (arXiv:2510.24066): padded sets of particles in any discipline.

A user's own jets, hits or galaxies come in by this door: write_h5 in
pipeline/data/readers/omnilearned_h5.py makes such a file of arrays. Jets may also come as padded
four-vectors in npz.
"""

from pipeline.data.experiment import Column, Experiment
from pipeline.data.experiments.jetclass import hardest_by

PROVENANCE = "as in the file"
COLUMNS = (
    Column(name="deta", unit="1", offset=0.0, scale=1.0, provenance=PROVENANCE),
    Column(name="dphi", unit="rad", offset=0.0, scale=1.0, provenance=PROVENANCE),
    Column(name="log_pt", unit="ln GeV", offset=0.0, scale=1.0, provenance=PROVENANCE),
    Column(name="log_energy", unit="ln GeV", offset=0.0, scale=1.0, provenance=PROVENANCE),
)

OMNILEARNED = Experiment(
    name="omnilearned",
    title="OmniLearned HDF5, or npz of four-vectors: top tagging, quark-gluon or your own jets",
    columns=COLUMNS,
    readers={
        ".h5": "pipeline.data.readers.omnilearned_h5:open_h5",
        ".hdf5": "pipeline.data.readers.omnilearned_h5:open_h5",
        ".npz": "pipeline.data.readers.vectors_npz:open_npz",
    },
    limit=hardest_by(lambda events: events.column("log_pt")),
    max_points=512,
    block_events=4096,
    shard_events=32_768,
)
