"""Learning to reverse: schedules, losses, samplers, networks and training."""
