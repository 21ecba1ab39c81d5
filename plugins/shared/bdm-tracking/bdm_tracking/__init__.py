"""What bdm's observers for experiment trackers share."""
