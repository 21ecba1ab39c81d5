"""What an analysis keeps beside its numbers: arrays for programs, pictures for the report."""
