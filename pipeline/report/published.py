"""Numbers that others published, by downstream task, each with where it stands.

Scores bear our names where they are the same quantity. "As quoted": read in a catalogue or a
reproduction that quotes the source, not in the source itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.report.formats import number

CAUTION = (
    "Sizes of models, data and selections differ from those of this run: these numbers say where "
    "the field stands, not what this run should have reached."
)
FM4NPP = "arXiv:2508.14087, as quoted"
SLIDES = "slides of FM4NPP, May 2025"
TUTORIAL = "tutorial of github.com/FM4NPP/PP_collision"
PANDA = "Young, Jesús-Valls, Terao 2026 (Panda V2), as quoted"
LLOCA = "table 5 of the paper on LLoCa"
JETCLASS = "as quoted"
TOP = "arXiv:2512.17011, table 1"
TPC, CLASSES, TAGGING = "TPCpp-10M", "JetClass", "Top tagging"


@dataclass(frozen=True)
class Published:
    """One row of a publication: its scores by our names, efficiencies and purities as fractions."""

    benchmark: str
    method: str
    scores: Mapping[str, float]
    source: str
    note: str = ""


@dataclass(frozen=True)
class Literature:
    """What is published of one task, and where sources do not agree."""

    rows: Sequence[Published]
    disagreements: Sequence[str] = ()

    @property
    def benchmarks(self) -> dict[str, list[Published]]:
        """The rows of each benchmark."""
        found: dict[str, list[Published]] = {}
        for row in self.rows:
            found.setdefault(row.benchmark, []).append(row)
        return found


def columns(rows: Sequence[Published]) -> list[str]:
    """Return the scores that any of the rows has, in the order in which they come."""
    return list(dict.fromkeys(score for row in rows for score in row.scores))


def printed(value: float | None) -> str:
    """Return a score as it was printed: fractions with three decimals, or four if it has them."""
    if value is None or value > 1:
        return number(value)
    return f"{value:.3f}" if round(value, 3) == value else f"{value:.4f}"


def title(score: str, shown: Mapping[str, str]) -> str:
    """Return the title of a score, as the head names it if it does."""
    return shown.get(score, score.replace("rejection_", "1/εB, ").replace("_", " "))


def _tracks(
    method: str, source: str, *values: float, note: str = "", benchmark: str = TPC
) -> Published:
    """Return a row of track finding: ARI, track efficiency and purity, hit efficiency, purity."""
    names = ("ari", "track_efficiency", "track_purity", "hit_efficiency", "hit_purity")
    return Published(benchmark, method, dict(zip(names, values, strict=False)), source, note)


def _points(method: str, source: str, *values: float, note: str = "") -> Published:
    """Return a row of classes of points: accuracy, recall, precision."""
    names = ("accuracy", "macro_recall", "macro_precision")
    return Published(TPC, method, dict(zip(names, values, strict=False)), source, note)


def _f1(method: str, source: str, value: float, note: str) -> Published:
    """Return a row with a macro F1 alone."""
    return Published(TPC, method, {"macro_f1": value}, source, note)


def _classes(method: str, accuracy: float, auc: float, source: str, *, note: str = "") -> Published:
    """Return a row of JetClass: accuracy and AUC of ten classes."""
    return Published(CLASSES, method, {"accuracy": accuracy, "auc": auc}, source, note)


def _rejections(method: str, *values: float) -> Published:
    """Return a row of JetClass: 1/εB of each class against QCD."""
    names = ("Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Tbqq", "Tbl", "Wqq", "Zqq")
    told = {f"rejection_{name}": each for name, each in zip(names, values, strict=True)}
    return Published(f"{CLASSES}, each class against QCD", method, told, LLOCA)


def _tagging(method: str, *values: float, source: str = TOP, note: str = "") -> Published:
    """Return a row of top tagging: accuracy, AUC, 1/εB at εS of 0.5 and of 0.3."""
    names = ("accuracy", "auc", "rejection_50", "rejection_30")
    return Published(TAGGING, method, dict(zip(names, values, strict=True)), source, note)


TRACKS = Literature(
    (
        _tracks("FM4NPP m6, frozen", FM4NPP, 0.9448, 0.9608, 0.9308),
        _tracks("FM4NPP", SLIDES, 0.9424, 0.9598, 0.9302, 0.9752, 0.9833,
                note="efficiency above 1 GeV: 0.9926"),
        Published(TPC, "FM4NPP m6, released weights", {"ari": 0.9465, "ari_pooled": 0.9213},
                  TUTORIAL, "2,000 events"),
        _tracks("FM4NPP m6, logs of its authors", TUTORIAL, 0.9442, note="mean of 10 seeds"),
        _tracks("head alone (adapter)", FM4NPP, 0.724, 0.780, 0.645),
        _tracks("head alone", SLIDES, 0.8723, 0.8965, 0.8248, 0.9402, 0.9513),
        _tracks("Exa.TrkX", FM4NPP, 0.877, 0.918, 0.664),
        _tracks("Exa.TrkX", SLIDES, 0.8052, 0.8776, 0.8608, 0.9649, 0.9635),
        _tracks("EggNet", FM4NPP, 0.726, 0.742, 0.751),
        _tracks("EggNet", SLIDES, 0.7256, 0.7419, 0.7514, 0.9301, 0.9234),
        _tracks("HEPT", FM4NPP, 0.831, 0.812, 0.780),
        _tracks("Panda V2", PANDA, 0.943, note="1,000 labelled events"),
        Published("sPHENIX simulation", "official: cellular automaton, Kalman filter",
                  {"track_efficiency": 0.946}, FM4NPP, "pT > 1 GeV, |η| < 1.1, 20 points or more"),
        Published("sPHENIX simulation", "FM4NPP", {"track_efficiency": 0.996}, FM4NPP,
                  "the same selection"),
        Published("TrackML", "EggNet", {"track_efficiency": 0.996}, "as quoted", "roughly"),
    ),
    (
        ("Slides and paper disagree on Exa.TrkX (ARI 0.8052 and 0.877, purity 0.8608 and 0.664), "
         "and on the head alone (ARI 0.8723 and 0.724)."),
        ("The paper's words are of metrics over the whole test set, its logs of means over events: "
         "of one set of weights these are 0.9213 and 0.9465."),
    ),
)  # fmt: skip
AS_PRINTED = "Recall and precision are as printed, and taken to be means over classes."
PARTICLES = Literature(
    (
        _points("FM4NPP m6", FM4NPP, 0.9039, 0.7652, 0.8782),
        _points("FM4NPP m6", f"{FM4NPP}; appendix", 0.8547),
        _points("OneFormer3D", FM4NPP, 0.770, 0.490, 0.577),
        _points("SAGEConv", FM4NPP, 0.726, 0.456, 0.650),
        _points("head alone (adapter)", FM4NPP, 0.663, 0.339, 0.611),
        _f1("FM4NPP", PANDA, 0.713, "70,000 labelled events"),
        _f1("Panda V2", PANDA, 0.838, "1,000 labelled events"),
    ),
    ("FM4NPP's accuracy is 0.9039 in the text and 0.8547 in the appendix.", AS_PRINTED),
)
NOISE = Literature(
    (
        _points("FM4NPP m6", FM4NPP, 0.9713, 0.9367, 0.9190),
        _points("FM4NPP m6", f"{FM4NPP}; appendix", 0.9662),
        _points("OneFormer3D", FM4NPP, 0.965, 0.940, 0.895),
        _points("SAGEConv", FM4NPP, 0.917, 0.723, 0.817),
        _points("head alone (adapter)", FM4NPP, 0.911, 0.622, 0.836),
        _f1("FM4NPP", PANDA, 0.912, "70,000 labelled events"),
        _f1("Panda V2", PANDA, 0.942, "1,000 labelled events"),
    ),
    ("FM4NPP's accuracy is 0.9713 in the text and 0.9662 in the appendix.", AS_PRINTED),
)
JETS = Literature(
    (
        _classes("ParT", 0.861, 0.9877, JETCLASS),
        _classes("Transformer", 0.855, 0.9867, JETCLASS),
        _classes("LLoCa", 0.864, 0.9882, JETCLASS),
        _classes("L-GATr", 0.865, 0.9884, JETCLASS, note="accuracy from another source"),
        _classes("JP-JEPA", 0.861, 0.9876, JETCLASS),
        _rejections("ParT", 10638, 4149, 123, 1864, 5479, 32787, 15873, 543, 402),
        _rejections("ParticleNet", 7634, 2475, 104, 954, 3339, 10526, 11173, 347, 283),
        _rejections("PFN", 2924, 841, 75, 198, 265, 797, 721, 189, 159),
        _rejections("P-CNN", 4890, 1276, 88, 474, 947, 2907, 2304, 241, 204),
        _tagging("ParticleNet", 0.940, 0.9858, 397, 1615),
        _tagging("ParT", 0.940, 0.9858, 413, 1602),
        _tagging("ParT, fine-tuned", 0.944, 0.9877, 691, 2766),
        _tagging("OmniLearn", 0.942, 0.9872, 568, 2647),
        _tagging("PETv2-s, from scratch", 0.943, 0.987, 505, 2167),
        _tagging("OmniLearned-M", 0.944, 0.9880, 656, 3208, note="± 12 and ± 176"),
        _tagging("OmniLearned-L", 0.944, 0.9880, 688, 3486, note="± 9 and ± 157"),
        _tagging("OmniLearned-L, run again by others", 0.9444, 0.9880, 645, 3365,
                 source="as quoted"),
        Published("Quark or gluon", "ParT, fine-tuned", {"accuracy": 0.852, "auc": 0.9230},
                  "as quoted"),
    ),
    (
        ("Run again by others, OmniLearned-L rejects 645 and 3365, where its paper has 688 ± 9 and "
         "3486 ± 157."),
        "Against QCD at a signal efficiency of 50 %, but of Hqql at 99 % and of Tbl at 99.5 %.",
    ),
)  # fmt: skip
DIRECTION = Literature(
    (
        Published("IceCube on Kaggle", "PolarBERT", {"mean_angle_rad": 0.984},
                  "slides of PolarBERT", "of the level of a silver medal"),
    ),
)  # fmt: skip
PUBLISHED = {
    **dict.fromkeys(("tracks", "clusters", "edges"), TRACKS),
    "particles": PARTICLES,
    "noise": NOISE,
    "jets": JETS,
    "direction": DIRECTION,
}
