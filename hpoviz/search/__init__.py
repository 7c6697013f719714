"""What may be proposed, and who proposes it."""
