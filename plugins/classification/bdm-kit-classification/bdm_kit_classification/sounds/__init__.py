"""Sound: batches with their rate, spectra, files."""
