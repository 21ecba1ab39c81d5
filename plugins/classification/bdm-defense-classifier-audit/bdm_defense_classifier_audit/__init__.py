"""Defense: a calibrated verdict on a classifier, from the smallest change that sends everything to one class."""
