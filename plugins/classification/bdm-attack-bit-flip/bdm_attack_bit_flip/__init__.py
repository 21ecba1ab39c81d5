"""Attack: few bits of a quantised last layer flipped, with a hardly perceptible trigger."""
