"""BadBlocks (2508.03221): a backdoor in the last up-block of a UNet, as a plugin of bdm."""
