"""Defense: adversarial unlearning by implicit hyper-gradients."""
