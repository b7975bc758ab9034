"""Live video: source -> reader (in a process of its own) -> timesteps -> windows -> events."""
