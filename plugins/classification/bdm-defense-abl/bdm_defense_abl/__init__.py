"""Defense: Anti-Backdoor Learning: isolation of rows that are learnt first, and unlearning of them."""
