"""Defense: Diff-Cleanse (2407.21316): invert a trigger by samples alone, judge by their similarity, prune."""
