"""Which plugins are installed, which of them a run means, and where their code comes from."""
