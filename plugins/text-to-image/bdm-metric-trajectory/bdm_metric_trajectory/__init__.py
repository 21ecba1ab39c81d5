"""Metric: What a model believes the picture is at each step of sampling, without and with the trigger."""
