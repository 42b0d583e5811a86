"""The two client packages, built and used as their users would."""
