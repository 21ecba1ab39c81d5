"""Metric: what a prediction rests on: Grad-CAM, SHAP values, saliency by frequency, and their share on the trigger."""
