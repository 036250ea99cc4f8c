"""Published numbers of particle identification, and the rows of classes of points."""

from pipeline.downstream.literature import Literature, Published

FM4NPP = "arXiv:2508.14087, as quoted"
PANDA = "Young, Jesús-Valls, Terao 2026 (Panda V2), as quoted"
TPC = "TPCpp-10M"
AS_PRINTED = "Recall and precision are as printed, and taken to be means over classes."


def points(method: str, source: str, *values: float, note: str = "") -> Published:
    """Return a row of classes of points: accuracy, recall, precision."""
    names = ("accuracy", "macro_recall", "macro_precision")
    return Published(TPC, method, dict(zip(names, values, strict=False)), source, note)


def f1(method: str, source: str, value: float, note: str) -> Published:
    """Return a row with a macro F1 alone."""
    return Published(TPC, method, {"macro_f1": value}, source, note)


LITERATURE = Literature(
    (
        points("FM4NPP m6", FM4NPP, 0.9039, 0.7652, 0.8782),
        points("FM4NPP m6", f"{FM4NPP}; appendix", 0.8547),
        points("OneFormer3D", FM4NPP, 0.770, 0.490, 0.577),
        points("SAGEConv", FM4NPP, 0.726, 0.456, 0.650),
        points("head alone (adapter)", FM4NPP, 0.663, 0.339, 0.611),
        f1("FM4NPP", PANDA, 0.713, "70,000 labelled events"),
        f1("Panda V2", PANDA, 0.838, "1,000 labelled events"),
    ),
    ("FM4NPP's accuracy is 0.9039 in the text and 0.8547 in the appendix.", AS_PRINTED),
)
