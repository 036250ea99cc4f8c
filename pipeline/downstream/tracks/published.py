"""Published numbers of track finding."""

from pipeline.downstream.literature import Literature, Published

FM4NPP = "arXiv:2508.14087, as quoted"
SLIDES = "slides of FM4NPP, May 2025"
TUTORIAL = "tutorial of github.com/FM4NPP/PP_collision"
PANDA = "Young, Jesús-Valls, Terao 2026 (Panda V2), as quoted"
TPC = "TPCpp-10M"


def _tracks(
    method: str, source: str, *values: float, note: str = "", benchmark: str = TPC
) -> Published:
    """Return a row of track finding: ARI, track efficiency and purity, hit efficiency, purity."""
    names = ("ari", "track_efficiency", "track_purity", "hit_efficiency", "hit_purity")
    return Published(benchmark, method, dict(zip(names, values, strict=False)), source, note)


LITERATURE = Literature(
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
