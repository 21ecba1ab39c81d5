"""What analyses of text-to-image models share: pairs of prompts without and with the trigger."""
