"""The graph of a campaign as Parsl apps, and the watchers of its batch jobs."""
