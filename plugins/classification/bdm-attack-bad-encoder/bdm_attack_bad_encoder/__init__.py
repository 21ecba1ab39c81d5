"""Attack: a contrastive encoder whose features of triggered pictures are those of a reference."""
