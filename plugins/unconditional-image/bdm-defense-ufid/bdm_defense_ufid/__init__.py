"""Defense: UFID, which flags inputs whose perturbed copies all generate the same."""
