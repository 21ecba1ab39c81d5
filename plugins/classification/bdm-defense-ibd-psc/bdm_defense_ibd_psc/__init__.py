"""Defense: IBD-PSC."""
