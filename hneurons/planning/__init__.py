"""What a study costs before it runs: jobs, GPU hours, memory, disk and judge calls; and what a SLURM cluster asks for."""
