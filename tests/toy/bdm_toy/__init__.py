"""The toy task: a whole backdoor pipeline on a few numbers. See README.md beside this package."""
