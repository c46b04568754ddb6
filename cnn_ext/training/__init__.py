"""Training: batches to gradients, epochs, losses, schedules, and what they leave behind.

An argument that does not fit raises TypeError or ValueError; the message names it.
"""
