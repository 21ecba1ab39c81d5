"""Defense: spectral signatures, which flag poisoned training rows and train without them."""
