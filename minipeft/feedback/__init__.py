"""Learning from human feedback: demonstrations, reward models, PPO, DPO."""
