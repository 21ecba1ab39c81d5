"""Defense: STEP, stability of labels under two kinds of perturbations."""
