"""Defense: NAB: a backdoor of the defender against that of the attacker."""
