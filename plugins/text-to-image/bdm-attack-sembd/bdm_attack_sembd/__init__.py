"""SemBD (ICML 2026), in closed form, as a plugin of bdm."""
