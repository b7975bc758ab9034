"""Learning by epochs: the loop, and what it does a step with. None of it knows what it trains."""
