"""What a tuning run leaves for its reader."""
