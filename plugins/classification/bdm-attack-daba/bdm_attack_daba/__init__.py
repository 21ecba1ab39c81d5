"""Attack: everyday sounds at the recording's loudness."""
