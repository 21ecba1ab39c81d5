"""Defense: fine-tuning with a penalty on the norm of the gradient (GN-FT)."""
