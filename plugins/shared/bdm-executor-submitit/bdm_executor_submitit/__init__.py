"""The stages of a sweep as jobs of SLURM, by submitit."""
