"""What the process models cost: the same application served by each for real, asked the same, and looked at."""
