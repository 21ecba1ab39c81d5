"""Attack: untargeted backdoor watermark, any wrong class will do."""
