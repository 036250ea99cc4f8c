"""Published numbers of jet classification."""

from pipeline.downstream.literature import Literature, Published

LLOCA = "table 5 of the paper on LLoCa"
JETCLASS = "as quoted"
TOP = "arXiv:2512.17011, table 1"
CLASSES, TAGGING = "JetClass", "Top tagging"


def _classes(method: str, accuracy: float, auc: float, source: str, *, note: str = "") -> Published:
    """Return a row of JetClass: accuracy and AUC of ten classes."""
    return Published(CLASSES, method, {"accuracy": accuracy, "auc": auc}, source, note)


def _rejections(method: str, *values: float) -> Published:
    """Return a row of JetClass: 1/εB of each class against QCD."""
    names = ("Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Tbqq", "Tbl", "Wqq", "Zqq")
    rejections = {f"rejection_{name}": each for name, each in zip(names, values, strict=True)}
    return Published(f"{CLASSES}, each class against QCD", method, rejections, LLOCA)


def _tagging(method: str, *values: float, source: str = TOP, note: str = "") -> Published:
    """Return a row of top tagging: accuracy, AUC, 1/εB at εS of 0.5 and of 0.3."""
    names = ("accuracy", "auc", "rejection_50", "rejection_30")
    return Published(TAGGING, method, dict(zip(names, values, strict=True)), source, note)


LITERATURE = Literature(
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
