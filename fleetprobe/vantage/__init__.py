"""Where we stand: facts about this machine, and whether any of them would spoil a scan."""
