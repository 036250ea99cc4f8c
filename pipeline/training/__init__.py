"""The torch world: programs started as processes on compute nodes, imported by nobody else."""
