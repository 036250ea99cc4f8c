"""Published numbers of noise tagging."""

from pipeline.downstream.literature import Literature
from pipeline.downstream.particles.published import AS_PRINTED, FM4NPP, PANDA, f1, points

LITERATURE = Literature(
    (
        points("FM4NPP m6", FM4NPP, 0.9713, 0.9367, 0.9190),
        points("FM4NPP m6", f"{FM4NPP}; appendix", 0.9662),
        points("OneFormer3D", FM4NPP, 0.965, 0.940, 0.895),
        points("SAGEConv", FM4NPP, 0.917, 0.723, 0.817),
        points("head alone (adapter)", FM4NPP, 0.911, 0.622, 0.836),
        f1("FM4NPP", PANDA, 0.912, "70,000 labelled events"),
        f1("Panda V2", PANDA, 0.942, "1,000 labelled events"),
    ),
    ("FM4NPP's accuracy is 0.9713 in the text and 0.9662 in the appendix.", AS_PRINTED),
)
