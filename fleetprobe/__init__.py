"""fleetprobe: names the failing layer, the cause and the proof for every host:port of a fleet."""
