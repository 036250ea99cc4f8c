"""Tasks to jobs: the plan, bundles, prices, and the checks before a submission."""
