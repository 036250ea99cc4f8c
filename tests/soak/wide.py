"""One campaign on two kinds of partition, unattended: `python -m tests.soak.wide`.

Twelve pretraining cells, 24 fine-tunings and 24 evaluations go through links, pilots and packs; the
results must be the same under Perlmutter's rules and under Frontier's.
"""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from soak.bed import Bed, bring_up
from soak.once import Soaked, soak

CAMPAIGN = Path(__file__).with_name("wide.toml")
SITES = {"testbed": "m4722", "testbed-frontier": "nph000"}


def main() -> int:
    """Run the campaign on each site, print its cost, and whether the results are equal."""
    root = bring_up()
    found: dict[str, Soaked] = {}
    for site, project in SITES.items():
        bed = Bed(root / f"wide-{site}", random.Random(1), CAMPAIGN)
        bed.prepare(site)
        each = found[site] = soak(bed, [], project=project)
        wrong = "; ".join(each.wrong) or "nothing wrong"
        took = f"{each.runs} run(s), {each.jobs} jobs, {each.seconds:.0f} s"
        sys.stdout.write(f"{site}: {took}, {each.node_hours:.4f} node-hours: {wrong}\n")
        sys.stdout.flush()
    first, second = (each.results for each in found.values())
    differ = sorted(
        key for key in first.keys() | second.keys() if first.get(key) != second.get(key)
    )
    sys.stdout.write(f"results that differ: {', '.join(differ) or 'none'} of {len(first)}\n")
    return int(bool(differ) or any(each.wrong for each in found.values()))


if __name__ == "__main__":
    raise SystemExit(main())
