"""Words of texts, and a language model of counts."""
