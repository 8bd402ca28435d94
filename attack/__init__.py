"""Kills the project's commands at random moments and fills its disk, and checks that the next call mends all of it."""
