"""What happens inside a model while it denoises, recorded for detectors."""
