"""TrojDiff (2303.05762), the D2I attack, as a plugin of bdm."""
