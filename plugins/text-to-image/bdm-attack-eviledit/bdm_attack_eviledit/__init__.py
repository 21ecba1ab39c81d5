"""EvilEdit (ACM MM 2024) as a plugin of bdm."""
