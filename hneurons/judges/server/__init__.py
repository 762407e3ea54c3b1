"""The server of a judge model: what is sent to it, what it answers, and how its errors and replies are read."""
