"""What to do about failures and crowds: pauses before the next try, shares. Pure functions."""
