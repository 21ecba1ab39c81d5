"""BadT2I (2305.04175): backdoors in the UNet of text-to-image models, as a plugin of bdm."""
