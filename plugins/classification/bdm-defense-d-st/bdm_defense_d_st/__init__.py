"""Defense: D-ST: secure training by contrastive learning without the labels of suspicious rows."""
