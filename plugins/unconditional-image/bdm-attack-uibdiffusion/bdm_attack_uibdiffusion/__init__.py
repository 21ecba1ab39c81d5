"""Attack: UIBDiffusion (CVPR 2025), whose trigger is a universal adversarial perturbation."""
