"""Attack: a tone for each cluster of speakers, against speaker verification."""
